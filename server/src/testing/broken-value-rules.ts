import { HybridClock } from "../values/hybrid-clock.js";
import { UploadHolders } from "../values/upload-holders.js";
import { ValueBlocks } from "../values/value-blocks.js";
import { ValueEntries } from "../values/value-entries.js";
import { Placement } from "../values/value-members.js";
import { ValueSync } from "../values/value-sync.js";
import { hidden, replaced } from "./replaced.js";

/** A rule about values that can be broken on purpose. */
export interface BreakableRule {
  /** Breaks the rule. The returned function mends it. */
  breakIt(): () => void;
}

/** Rules about values that can be broken on purpose, one at a time, to see how soon the simulation finds it. */
export const breakableValueRules: Readonly<Record<string, BreakableRule>> = {
  /** A later version is smaller. */
  "hybrid-time": { breakIt: () => replaced(HybridClock.prototype, "next", backwards()) },
  /** A member forgets a deletion at once. */
  "kept-deletions": {
    breakIt: () => {
      const set = ValueEntries.prototype.set;
      return replaced(ValueEntries.prototype, "set", async function (this: ValueEntries, entry, stored, isEvicted) {
        if (entry.deleted) this.forget(entry.url);
        else await set.call(this, entry, stored, isEvicted);
      });
    },
  },
  /** A value can be read after its end. */
  expiry: {
    breakIt: () => {
      return replaced(ValueEntries.prototype, "live", function (this: ValueEntries, url) {
        const held = this.get(url);
        return held?.entry.deleted === false ? held : undefined;
      });
    },
  },
  /** A write is acknowledged by one member. */
  replicas: {
    breakIt: () => {
      const holders = Placement.prototype.holders;
      return replaced(Placement.prototype, "holders", function (this: Placement, url) {
        return holders.call(this, url).slice(0, 1);
      });
    },
  },
  /** Members do not ask each other for changes. */
  repair: { breakIt: () => replaced(ValueSync.prototype, "round", async () => {}) },
  /** A holder answers alone, although it does not know the changes of the others. */
  freshness: { breakIt: () => replaced(ValueSync.prototype, "isSettled", () => true) },
  /** A value is missing although members that may have it do not answer. */
  absence: { breakIt: () => replaced(Placement.prototype, "isAbsenceCertain", () => true) },
  /** A member with an older list does not ask by newer ones who keeps a value. */
  "other-lists": { breakIt: () => hidden(ValueSync.prototype, "otherLists", []) },
  /** Nobody knows which members have missed a write of an upload. */
  "missed-writes": { breakIt: () => replaced(UploadHolders.prototype, "noteMissed", async () => {}) },
  /** All bytes behind the first ones are those of the version that was there before. */
  "one-version": { breakIt: mixed },
};

function backwards(): HybridClock["next"] {
  let made = 0;
  return () => `${(2 ** 40 - made++).toString(16).padStart(12, "0")}00000-member`;
}

function mixed(): () => void {
  const pin = ValueBlocks.prototype.pin;
  const versions = new Map<string, string[]>();
  return replaced(ValueBlocks.prototype, "pin", function (this: ValueBlocks, url, stored, index) {
    const known = versions.get(url) ?? [];
    versions.set(url, known);
    if (known.at(-1) !== stored) known.push(stored);
    const found = pin.call(this, url, stored, index);
    const before = pin.call(this, url, known.at(-2) ?? stored, index);
    if (found === undefined || before === undefined) return found;
    return {
      id: found.id,
      info: found.info,
      has: (segment) => found.has(segment),
      read: (start, end) =>
        start === 0 ? found.read(0, Math.min(end, BEGINNING_BYTES)) : (before.read(start, end) ?? found.read(start, end)),
      release() {
        found.release();
        before.release();
      },
    };
  });
}

/** Bytes of a block that are of the right version. */
const BEGINNING_BYTES = 10;
