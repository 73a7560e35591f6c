import { cacheService } from "@frontcache/client/grpc";
import type { ReadRangeResponse } from "@frontcache/proto";
import type { cacheServiceHandlers } from "@frontcache/server/testing";
import { Metadata } from "@grpc/grpc-js";
import { type CallerEnd, SimulatedCall } from "./simulated-call.js";
import type { SimulatedNetwork } from "./simulated-network.js";
import type { ProcessClock } from "./simulated-time.js";

/** What a member answers calls with. */
export type Handlers = ReturnType<typeof cacheServiceHandlers>;
type Method = keyof Handlers;

/** How long the answer to a request that arrived twice is sent to nobody, milliseconds, at most. */
const GHOST_MS = 50;

/** A process at one end of a connection. */
export interface End {
  readonly name: string;
  /** Its event loop. Absent: it never stops. */
  readonly process?: ProcessClock | undefined;
}

/** Whoever listens at an address. */
export interface Host extends End {
  readonly handlers: Handlers;
  /** `leaving` takes no new calls; of a `gone` one nothing ever comes again. */
  state: "listening" | "leaving" | "gone";
}

/** A connection from one process to another, with the calls that run on it. */
export class Connection {
  readonly #network: SimulatedNetwork;
  readonly caller: End;
  readonly host: Host;
  readonly #closed: () => void;

  open = true;
  readonly #calls = new Set<SimulatedCall<never, never>>();

  constructor(network: SimulatedNetwork, caller: End, host: Host, closed: () => void) {
    this.#network = network;
    this.caller = caller;
    this.host = host;
    this.#closed = closed;
  }

  get calls(): number {
    return this.#calls.size;
  }

  /** Begins a call; its answer comes at the returned end. */
  call<Response>(method: Method, request: object, metadata = new Metadata()): CallerEnd<Response> {
    const { chance, time, weather } = this.#network;
    const call = this.#begin<Response>(method, request, metadata);
    if (chance.happens(weather.duplicates)) {
      const ghost = this.#begin<Response>(method, request, metadata).caller;
      ghost.on("error", () => {});
      time.after(chance.below(GHOST_MS), () => ghost.cancel());
    }
    return call.caller;
  }

  /** All calls fail, and no new one begins. */
  break(why: string): void {
    this.#close();
    for (const call of this.#calls) call.break(why);
    this.#calls.clear();
  }

  /** The caller's process is gone; the member notices after a while. */
  forsake(noticedAfterMs: number): void {
    this.#close();
    for (const call of this.#calls) {
      if (noticedAfterMs === 0) call.forsake();
      else this.#network.time.after(noticedAfterMs, () => call.forsake());
    }
    this.#calls.clear();
  }

  #close(): void {
    this.open = false;
    this.#closed();
  }

  #begin<Response>(method: Method, request: object, metadata: Metadata): SimulatedCall<object, Response> {
    const { caller, host } = this;
    const path = {
      toMember: this.#lane(caller, host),
      toCaller: this.#lane(host, caller),
      atMember: noticedBy(host),
      atCaller: noticedBy(caller),
    };
    const call = new SimulatedCall<object, Response>({ request, metadata }, path, (message) => copied(method, message));
    if (!this.open || this.host.state === "leaving") {
      call.break("the connection is closed");
      return call;
    }
    const known = call as unknown as SimulatedCall<never, never>;
    this.#calls.add(known);
    call.onOver = () => this.#calls.delete(known);
    path.toMember(() => this.#handle(method, call));
    return call;
  }

  #handle<Response>(method: Method, { member }: SimulatedCall<object, Response>): void {
    if (member.isOver) return;
    const handler = this.host.handlers[method] as (call: object, answer: object) => void;
    handler(member, member.answer);
  }

  /** Delivers in order. A message that meets a cut waits for it to heal, and the ones behind it with it. */
  #lane(from: End, to: End): (deliver: () => void) => void {
    const network = this.#network;
    const notice = noticedBy(to);
    const queue: { readonly deliver: () => void; readonly dueAtMs: number }[] = [];
    let busy = false;
    const next = (): void => {
      busy = queue.length > 0;
      if (busy) network.later(arrive, Math.max(0, queue[0]!.dueAtMs - network.time.monotonicMs()));
    };
    const arrive = (): void => {
      if (this.host.state === "gone") return;
      if (!network.passes(from.name, to.name)) network.whenHealed(arrive);
      else
        notice(() => {
          queue.shift()!.deliver();
          next();
        });
    };
    return (deliver) => {
      if (network.chance.happens(network.weather.breaks) && this.open) this.break("the connection broke");
      queue.push({ deliver, dueAtMs: network.time.monotonicMs() + network.linkDelayMs(from.name, to.name) });
      if (!busy) next();
    };
  }
}

/** How a process notices something: by its event loop. */
function noticedBy({ process }: End): (notice: () => void) => void {
  return process === undefined ? (notice) => notice() : (notice) => process.deliver(notice);
}

/**
 * A message as it is after its way: serialised and parsed. Of a piece of a read only the bytes are copied, since serialising
 * each would take most of a run's time.
 */
function copied<Message>(method: Method, message: Message): Message {
  if (method === "readRange") return { ...message, data: Buffer.from((message as ReadRangeResponse).data) };
  const { responseSerialize, responseDeserialize } = cacheService[method];
  return responseDeserialize(responseSerialize(message as never)) as Message;
}
