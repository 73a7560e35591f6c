import { describe, expect, it } from "vitest";
import { type Linked, LinkedList } from "./linked-list.js";

interface Named extends Linked<Named> {
  readonly name: string;
}

function setUp(names: string) {
  const list = new LinkedList<Named>();
  const entries = Object.fromEntries([...names].map((name): [string, Named] => [name, { name }]));
  for (const entry of Object.values(entries)) list.add(entry);
  return { list, entries };
}

function drained(list: LinkedList<Named>): string {
  let names = "";
  for (let entry = list.shift(); entry !== undefined; entry = list.shift()) names += entry.name;
  return names;
}

describe("a linked list", () => {
  it("returns its entries in the order of insertion", () => {
    const { list } = setUp("abc");
    expect([list.size, list.first?.name, drained(list), list.size, list.first]).toEqual([3, "a", "abc", 0, undefined]);
  });

  it.each([
    ["a", "bc"],
    ["b", "ac"],
    ["c", "ab"],
    ["ac", "b"],
    ["abc", ""],
  ])("loses %s of abc, once", (removed, rest) => {
    const { list, entries } = setUp("abc");
    for (const name of removed) expect([list.delete(entries[name]!), list.delete(entries[name]!)]).toEqual([true, false]);
    expect([list.size, drained(list)]).toEqual([rest.length, rest]);
  });

  it("has an entry once, and takes it back after it was removed", () => {
    const { list, entries } = setUp("ab");
    list.add(entries.a!);
    expect([list.size, list.has(entries.a!)]).toEqual([2, true]);
    list.delete(entries.a!);
    expect(list.has(entries.a!)).toBe(false);
    list.add(entries.a!);
    expect(drained(list)).toBe("ba");
  });

  it("leaves no reference in an entry that was removed", () => {
    const { list, entries } = setUp("abc");
    list.delete(entries.b!);
    expect(entries.b).toEqual({ name: "b", previous: undefined, next: undefined });
  });
});
