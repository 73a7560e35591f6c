/** Replaces a method of a class; the returned function puts it back. */
export function replaced<Class extends object, Name extends keyof Class>(of: Class, name: Name, by: Class[Name]): () => void {
  const before = of[name];
  of[name] = by;
  return () => {
    of[name] = before;
  };
}

/** Replaces a property of a class by a value; the returned function puts it back. */
export function hidden<Class extends object>(of: Class, name: keyof Class, by: unknown): () => void {
  const before = Object.getOwnPropertyDescriptor(of, name)!;
  Object.defineProperty(of, name, { configurable: true, get: () => by });
  return () => void Object.defineProperty(of, name, before);
}
