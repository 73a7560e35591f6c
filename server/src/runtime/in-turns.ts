/** Items that are handled in one turn of the event loop. */
const ITEMS_AT_ONCE = 500;

/** The items of a long list, a bounded number of them in one turn of the event loop. */
export async function* inTurns<Item>(items: readonly Item[]): AsyncGenerator<Item> {
  let count = 0;
  for (const item of items) {
    if (++count % ITEMS_AT_ONCE === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    yield item;
  }
}
