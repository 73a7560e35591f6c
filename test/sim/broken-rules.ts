import { blockOffsetOf } from "@frontcache/proto";
import type { Origin } from "@frontcache/server";
import {
  type Cache,
  HomeChanges,
  hidden,
  type ManualClock,
  type ObjectRead,
  ObjectRecords,
  ObjectWrites,
  type ReadRequest,
  replaced,
  Standstill,
  wrap,
} from "@frontcache/server/testing";
import type { BrokenRules, ObjectCalls } from "./simulated-member.js";
import { geometry } from "./simulated-parts.js";
import type { Subject } from "./step-makers.js";

/** Rules that can be broken on purpose, one at a time, to see how soon the model finds it. */
export const breakableRules: Readonly<Record<string, BrokenRules>> = {
  /** A read of several blocks takes every block as it is current just then. */
  "version-pin": { read: (read) => (request) => readUnpinned(read, request) },
  /** The origin ignores the version that is asked for, and answers as if it had it. */
  "origin-condition": { origin: unconditional },
  /** A member sends reads on that a member sent it. */
  "one-hop": { read: (read) => (request) => read({ ...request, forwarded: false }) },
};

/** Rules about homes and leases that can be broken on purpose; runs about versions find them. */
export const breakableVersionRules: Readonly<Record<string, BrokenRules>> = {
  /** A home does not tell lease holders that an object has changed, and continues as if they had confirmed. */
  "version-changed": { objects: (calls) => ({ ...calls, versionChanged: async () => {} }) },
  /** A home never hears that the origin rejected a version. */
  "version-rejected": { objects: withoutRejections },
  /** A lease counts from when its answer arrives. */
  "lease-clock": { objects: leasesFromArrival },
  /** What the origin answered dates from when its answer arrived. */
  "observation-date": { patch: observedOnArrival },
  /** A member that substitutes for a home answers at once, by what it knew before. */
  substitution: { patch: () => replaced(HomeChanges.prototype, "isGone", () => Number.NEGATIVE_INFINITY) },
  /** A home confirms that it has handed its objects over, and continues deciding about them. */
  "hand-over-confirmed": { service: (objects) => ({ ...objects, handOver: async () => true }) },
  /** A new home decides before the previous one has confirmed. */
  "hand-over-awaited": { objects: (calls) => ({ ...calls, handOver: async () => true }) },
  /** A home that stood still continues with its records. */
  "self-fencing": { patch: () => replaced(Standstill.prototype, "check", () => {}) },
  /** The absence of an object is believed as long as a lease lasts, which its home does not know of. */
  absence: { objects: unrevokedAbsence },
  /** A write is acknowledged before the member that decides about the object knows of it. */
  "write-reported": { patch: () => replaced(ObjectWrites.prototype, "report", async () => {}) },
  /** No second member knows of a write that the home runs itself, or whose outcome is unknown. */
  "write-announced": { patch: unannouncedWrites },
  /** A member that others saw leave and return is not told. */
  "return-noticed": { patch: () => hidden(HomeChanges.prototype, "retainedFor", []) },
  /** A member that enters the list takes nothing over from those that decided about its objects, reminded or not. */
  "entry-taken-over": { patch: withoutTakeOvers },
};

/** What the runs are about that find a broken rule. Absent: everything that can happen. */
export const subjectsOfRules: Readonly<Record<string, Subject>> = {
  ...Object.fromEntries(Object.keys(breakableVersionRules).map((rule) => [rule, "versions" as const])),
  "observation-date": "overtaken",
  "return-noticed": "divided",
  "write-reported": "writes",
  "write-announced": "writes",
  "entry-taken-over": "writes",
};

/** As long as leases of versions are. */
const LEASE_MS = 600;

function withoutTakeOvers(): () => void {
  const ends = [
    replaced(HomeChanges.prototype, "started", () => []),
    replaced(HomeChanges.prototype, "takeOverFrom", () => undefined),
  ];
  return () => ends.forEach((end) => void end());
}

function withoutRejections(calls: ObjectCalls): ObjectCalls {
  return {
    ...calls,
    lookUpRecords(address, request, onAnswer, limits) {
      const questions = request.questions.map((question) => ({ ...question, rejectedVersion: "" }));
      return calls.lookUpRecords(address, { ...request, questions }, onAnswer, limits);
    },
  };
}

function leasesFromArrival(calls: ObjectCalls, time: ManualClock): ObjectCalls {
  return {
    ...calls,
    lookUpRecords(address, request, onAnswer, limits) {
      const sentAtMs = time.monotonicMs();
      const late: typeof onAnswer = (answer) => {
        const lateMs = answer.leaseMs === 0 ? 0 : time.monotonicMs() - sentAtMs;
        onAnswer({ ...answer, leaseMs: answer.leaseMs + lateMs });
      };
      return calls.lookUpRecords(address, request, late, limits);
    },
    async renewLeases(address, request, limits) {
      const sentAtMs = time.monotonicMs();
      const answer = await calls.renewLeases(address, request, limits);
      return { ...answer, leaseMs: answer.leaseMs + time.monotonicMs() - sentAtMs };
    },
  };
}

function observedOnArrival(time: ManualClock): () => void {
  const { observe } = ObjectRecords.prototype;
  return replaced(ObjectRecords.prototype, "observe", function (this: ObjectRecords, url, observation) {
    observe.call(this, url, { ...observation, askedAtMs: time.monotonicMs() });
  });
}

function unannouncedWrites(): () => void {
  const { report } = ObjectWrites.prototype;
  return replaced(ObjectWrites.prototype, "report", async function (this: ObjectWrites, ref, write, hops, signal) {
    if (write.stage !== "announced") await report.call(this, ref, write, hops, signal);
  });
}

function unrevokedAbsence(calls: ObjectCalls): ObjectCalls {
  return {
    ...calls,
    lookUpRecords(address, request, onAnswer, limits) {
      const leased: typeof onAnswer = (answer) => {
        const isAbsence = answer.record === undefined && answer.errorCode === "";
        onAnswer(isAbsence ? { ...answer, leaseMs: LEASE_MS } : answer);
      };
      return calls.lookUpRecords(address, request, leased, limits);
    },
  };
}

async function readUnpinned(read: Cache["open"], request: ReadRequest): Promise<ObjectRead> {
  if (request.version !== undefined || request.forwarded) return read(request);
  const whole = await read(request);
  const { offset, length } = whole;
  let at = offset;
  let block: ObjectRead = whole;
  return {
    info: whole.info,
    offset,
    length,
    result: whole.result,
    async next() {
      if (at > offset && at % geometry.blockBytes === 0 && at < offset + length) {
        block.close();
        const end = Math.min(offset + length, blockOffsetOf(at, geometry) + geometry.blockBytes);
        block = await read({ ...request, offset: at, length: end - at });
      }
      const slice = await block.next();
      at += slice?.bytes.length ?? 0;
      return slice;
    },
    close: () => block.close(),
  };
}

function unconditional(next: Origin): Origin {
  return wrap(next, {
    async fetch(request) {
      const { version } = request;
      const answer = await next.fetch({ ...request, version: undefined });
      return version === undefined ? answer : { ...answer, info: { ...answer.info, version } };
    },
  });
}
