/** Events between members, for metrics. Each method is called synchronously and must be quick. */
export interface RoutingEvents {
  /** A read of one block was sent to another member. */
  onForward(outcome: "answered" | "unreachable" | "failed"): void;
  /** A read continues elsewhere, because its member was unreachable when it was asked, or was lost midway. */
  onFailover(stage: "asked" | "midway"): void;
  /** Another member had the bytes that a fill needs, so that no origin is asked. */
  onPeerFill(): void;
}
