// The certificate library (@peculiar/x509, through tsyringe) queries Reflect for the types of constructor parameters, which only
// decorators record. There are no decorators, so this object returns none, and no polyfill is needed.
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
