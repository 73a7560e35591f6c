/** Works on items, `parallelism` of them at a time, in their order. Rejects with the first error; no further item is begun then. */
export async function sideBySide<T>(items: Iterable<T>, parallelism: number, work: (item: T) => Promise<void>): Promise<void> {
  const remaining = items[Symbol.iterator]();
  let failed = false;
  const workSome = async (): Promise<void> => {
    for (let next = remaining.next(); !next.done && !failed; next = remaining.next()) {
      try {
        await work(next.value);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: parallelism }, workSome));
}
