import { pino } from "pino";
import type { RoutingEvents } from "../routing/routing-events.js";
import type { Log } from "../runtime/log.js";

/** Writes nothing. */
export const silentLog: Log = Object.assign(pino({ level: "silent" }), { always: () => {}, debugEnabled: false });

/** Counts nothing. */
export const silentRouting: RoutingEvents = { onForward() {}, onFailover() {}, onPeerFill() {} };
