import type { Priority } from "./fill-memory.js";
import type { Part } from "./part.js";

/** The parts of one fill that have not been asked for: what readers wait for first, each kind in order. */
export class PartQueue {
  readonly #parts: Record<Priority, Part[]> = { demand: [], background: [] };

  get size(): number {
    return this.#parts.demand.length + this.#parts.background.length;
  }

  add(part: Part): void {
    this.#parts[part.priority].push(part);
  }

  take(): Part | undefined {
    return this.#parts.demand.shift() ?? this.#parts.background.shift();
  }

  takeAll(): Part[] {
    return [...this.#parts.demand.splice(0), ...this.#parts.background.splice(0)];
  }

  /** Background becomes demand, behind the demand that is there; a part that has left the queue is told as well. */
  promote(part: Part): void {
    if (part.priority === "demand") return;
    const queued = this.remove(part);
    part.promote();
    if (queued) this.add(part);
  }

  /** Returns whether the part was still queued. */
  remove(part: Part): boolean {
    const parts = this.#parts[part.priority];
    const at = parts.indexOf(part);
    if (at >= 0) parts.splice(at, 1);
    return at >= 0;
  }
}
