/** What happens between members, for metrics. Each is told at once and must be quick. */
export interface RoutingEvents {
  /** A read of one block was sent to another member. */
  onForward(outcome: "answered" | "unreachable" | "failed"): void;
  /** A read goes on elsewhere, because its member was out of reach when it was asked, or was lost midway. */
  onFailover(stage: "asked" | "midway"): void;
  /** Another member held what a fill needs, and no origin is asked for it. */
  onPeerFill(): void;
}

export const silentRouting: RoutingEvents = { onForward() {}, onFailover() {}, onPeerFill() {} };
