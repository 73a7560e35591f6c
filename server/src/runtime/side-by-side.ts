/**
 * Works on items, `parallelism` of them at a time, in their order. Rejects with the first error; no further item is begun then.
 * Of what is there at once an item is taken only when the work on the one before has begun, so that it may be the last one.
 */
export async function sideBySide<T>(
  items: Iterable<T> | AsyncIterable<T>,
  parallelism: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const remaining = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  let failed = false;
  const workSome = async (): Promise<void> => {
    try {
      while (!failed) {
        const taken = remaining.next();
        const next = taken instanceof Promise ? await taken : taken;
        if (next.done || failed) return;
        await work(next.value);
      }
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  await Promise.all(Array.from({ length: parallelism }, workSome));
}
