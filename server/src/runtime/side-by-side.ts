/** Works on items, `parallelism` of them at a time, in their order. Rejects with the first error; no further item is begun then. */
export async function sideBySide<T>(
  items: Iterable<T> | AsyncIterable<T>,
  parallelism: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const remaining = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  let failed = false;
  const workSome = async (): Promise<void> => {
    try {
      for (let next = await remaining.next(); !next.done && !failed; next = await remaining.next()) await work(next.value);
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  await Promise.all(Array.from({ length: parallelism }, workSome));
}
