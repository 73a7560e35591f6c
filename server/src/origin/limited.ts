import { CacheError } from "@frontcache/proto";
import { type Landing, NotWritten, type OriginBody, type OriginWrapper, withBody, wrap } from "./origin.js";
import type { OriginLimits, Permit } from "./origin-limits.js";
import { untilEnd } from "./passed-body.js";

/** Holds requests back until this member's limits permit them. Stands inside of retries, so that each attempt counts. */
export function limited(limits: OriginLimits): OriginWrapper {
  return (next) =>
    wrap(next, {
      async fetch(request) {
        const permit = await limits.acquire(request.ref.url, request.length, request.signal);
        try {
          const answer = await next.fetch(request);
          permit.correct(answer.length);
          return withBody(answer, new PermittedBody(answer.body, permit));
        } catch (error) {
          permit.correct(0);
          permit.release();
          throw error;
        }
      },
      async write(request) {
        const permit = await limits.acquire(request.ref.url, 0, request.signal).catch((error: unknown) => {
          throw new NotWritten(CacheError.from(error));
        });
        return next.write(request).finally(() => permit.release());
      },
      async ask(question) {
        const permit = await limits.acquire(question.ref.url, 0, question.signal);
        let received = 0;
        try {
          return untilEnd(question, await next.ask(question), {
            received: (bytes) => {
              received += bytes;
            },
            ended() {
              permit.correct(received);
              permit.release();
            },
          });
        } catch (error) {
          permit.release();
          throw error;
        }
      },
    });
}

/** Keeps its request's permit until its end. */
class PermittedBody implements OriginBody {
  readonly #body: OriginBody;
  readonly #permit: Permit;

  constructor(body: OriginBody, permit: Permit) {
    this.#body = body;
    this.#permit = permit;
  }

  land(landing: Landing): Promise<void> | undefined {
    const landed = this.#body.land(landing);
    if (landed !== undefined) return landed.finally(() => this.#permit.release());
    this.#permit.release();
    return undefined;
  }

  destroy(): void {
    this.#body.destroy();
    this.#permit.release();
  }
}
