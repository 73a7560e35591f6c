import { setMaxListeners } from "node:events";
import type { Clock as MemberClock, MemberConnections } from "@frontcache/client/members";
import { CacheError, type Geometry, type MemberInfo, type Membership } from "@frontcache/proto";
import { LocalCache, type LocalCacheOptions } from "../cache/local-cache.js";
import { ObjectHomes } from "../objects/object-homes.js";
import { asRecentCaller } from "../origin/as-recent-caller.js";
import type { OriginStates } from "../origin/availability.js";
import { compose, type Origin } from "../origin/origin.js";
import { type AsCallerOptions, asCaller } from "../routing/as-caller.js";
import type { Cache } from "../routing/cache.js";
import { MemberView } from "../routing/member-view.js";
import { OtherMembers, type OtherMembersOptions } from "../routing/other-members.js";
import { BlockHolders, peerFills } from "../routing/peer-fill.js";
import { type PipeCalls, Pipes } from "../routing/pipes.js";
import { Router } from "../routing/router.js";
import type { RoutingEvents } from "../routing/routing-events.js";
import { Verdicts } from "../routing/verdicts.js";
import { WrittenBodies } from "../routing/written-bodies.js";
import type { Clock } from "../runtime/clock.js";
import { RecentCallers } from "../security/recent-callers.js";
import type { BlockStore } from "../storage/block-store.js";
import { WriteThrough } from "../writes/write-through.js";

/** What a member works on. `startServer` gives the real ones; tests and the simulation replace some by fakes. */
export interface MemberParts {
  readonly self: MemberInfo;
  /** The member list at the start. */
  readonly membership: Membership;
  /** Whether there may be other members, in the list or not yet. */
  readonly mayHaveOthers: boolean;
  readonly geometry: Geometry;
  /** How the cache fills and revalidates. */
  readonly settings: Omit<LocalCacheOptions, "geometry" | "origin" | "store" | "clock">;
  readonly clock: Clock & MemberClock;
  readonly store: BlockStore;
  readonly origin: Origin;
  /** Which principals have credentials of their own at origins, and how old the origins' decisions about them may be. Absent: none. */
  readonly asCaller?: (Pick<AsCallerOptions, "accesses" | "onDenied"> & { readonly verdictTtlMs: number }) | undefined;
  /** What to expect of the origins. Undefined: an answer. */
  readonly originStates?: OriginStates | undefined;
  readonly connections: MemberConnections;
  /** Time in which another member must accept a connection or answer. Absent: 1 s. */
  readonly memberTimeoutMs?: number | undefined;
  readonly events: RoutingEvents;
  /** The longest body of a write that is cached for the next read, bytes. Absent: none is. */
  readonly teeWritesBytes?: number | undefined;
  /** Called when another member becomes unreachable (`false`), and when it answers again (`true`). */
  readonly onReachable?: OtherMembersOptions["onReachable"];
  /** System calls that move forwarded bytes past this process's memory. Absent: none. */
  readonly pipeCalls?: PipeCalls | undefined;
}

/** A member without its listeners. */
export interface ComposedMember {
  readonly view: MemberView;
  readonly others: OtherMembers;
  readonly local: LocalCache;
  /** Which version of each object is current, by agreement with the other members. */
  readonly objects: ObjectHomes;
  readonly router: Router;
  /** The cache port that the listeners serve: the router, where origins decide about principals with credentials of their own. */
  readonly cache: Cache;
  /** Undefined: no principal has credentials of its own. */
  readonly verdicts: Verdicts | undefined;
  /** Takes over a new member list. */
  update(membership: Membership): void;
  /** Aborts the fills, then closes the connections to other members. The store and the origin stay open. */
  close(): Promise<void>;
}

/** Builds a member from its parts: the one place where cache, routing and fills from other members are put together. */
export function composeMember(parts: MemberParts): ComposedMember {
  const { self, geometry, clock, store, events, connections, onReachable, memberTimeoutMs: timeoutMs, pipeCalls } = parts;
  const view = new MemberView(self.name, clock, parts.membership);
  const callers = new RecentCallers();
  const pipes = pipeCalls && new Pipes(pipeCalls);
  const others = new OtherMembers({ self, view, connections, clock, timeoutMs, callers, onReachable, pipes });
  const ownOrigin = parts.asCaller === undefined ? parts.origin : asRecentCaller(callers)(parts.origin);
  const holders = new BlockHolders();
  const written = new WrittenBodies({ geometry, clock, others, maxBytes: parts.teeWritesBytes ?? 0 });
  const origin = compose(written.answerFrom, peerFills({ geometry, clock, others, events, holders }))(ownOrigin);
  const onChange = (url: string): void => objects.changed(url);
  const outdated: LocalCacheOptions["outdated"] = (ref, version, signal) => objects.outdated(ref, version, signal);
  const { settings, originStates } = parts;
  const local = new LocalCache({ ...settings, geometry, origin, originStates, store, clock, onChange, outdated });
  const isRestarted = store.status().volumes.some(({ blocks }) => blocks > 0);
  const objects = new ObjectHomes({
    ...parts.settings,
    peers: others,
    membership: parts.membership,
    mayHaveOthers: parts.mayHaveOthers,
    clock,
    local,
    isRestarted,
  });
  const writes = new WriteThrough({
    objects,
    origin: parts.origin,
    clock,
    contents: parts.teeWritesBytes === undefined ? undefined : written,
    idPrefix: `${self.name}/${Math.floor(clock.random() * 2 ** 48).toString(36)}`,
  });
  const router = new Router({ local, geometry, others, objects, events, writes, holders });
  written.serve({ local, objects, open: (request) => router.open(request) });
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  let verdicts: Verdicts | undefined;
  let cache: Cache = router;
  if (parts.asCaller !== undefined) {
    const { verdictTtlMs: ttlMs, ...rules } = parts.asCaller;
    verdicts = new Verdicts({ origin: parts.origin, callers, clock, ttlMs, signal: closing.signal });
    cache = asCaller({ ...rules, verdicts, callers })(router);
  }
  return {
    view,
    others,
    local,
    objects,
    router,
    cache,
    verdicts,
    update(membership) {
      view.update(membership);
      others.update();
      objects.update(membership);
    },
    async close() {
      closing.abort(new CacheError("CANCELLED", "the member is closing"));
      writes.close();
      await objects.close();
      await local.close();
      await others.close();
    },
  };
}
