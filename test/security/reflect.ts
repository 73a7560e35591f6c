// What makes certificates here (@peculiar/x509, by tsyringe) asks Reflect for the types of constructors' parameters, which only
// decorators would have noted. Without any of them, none are known: this answers so, in place of a polyfill.
interface MetadataOfTypes {
  getMetadata(key: unknown, target: object): unknown;
  getOwnMetadata(key: unknown, target: object): unknown;
  defineMetadata(key: unknown, value: unknown, target: object): void;
}

const known = new WeakMap<object, Map<unknown, unknown>>();
const get = (key: unknown, target: object): unknown => known.get(target)?.get(key);

Object.assign(Reflect, {
  getMetadata: get,
  getOwnMetadata: get,
  defineMetadata(key, value, target) {
    known.set(target, (known.get(target) ?? new Map<unknown, unknown>()).set(key, value));
  },
} satisfies MetadataOfTypes);
