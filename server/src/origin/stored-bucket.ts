import type { BucketRef } from "@frontcache/proto";
import type { AnswerTo, BucketList, Origin, OriginQuestion, OriginWrapper, WriteRequest } from "./origin.js";

/** Which bucket of a store is served under another name. */
export interface BucketAlias {
  /** The name that clients use. */
  readonly bucket: string;
  /** The name in the store. */
  readonly storeBucket: string;
}

/**
 * Serves a store's bucket under another name: every request goes to `storeBucket`. URLs, and with them block files, messages and logs,
 * have the clients' name. Documents that are passed on as they are name the store's bucket.
 */
export function storedAs({ bucket, storeBucket }: BucketAlias): OriginWrapper {
  const stored = <R extends BucketRef>(ref: R): R => ({ ...ref, bucket: storeBucket });
  return (next): Origin => ({
    fetch: (request) => next.fetch({ ...request, ref: stored(request.ref) }),
    ask: async <Q extends OriginQuestion>(question: Q): Promise<AnswerTo<Q>> => {
      if (question.ref.bucket !== "") return next.ask({ ...question, ref: stored(question.ref) });
      const answer = await next.ask(question);
      return question.kind === "listBuckets" ? (onlyAlias(answer as BucketList) as AnswerTo<Q>) : answer;
    },
    write: (request) => next.write({ ...request, ref: stored(request.ref), ...copied(request) }),
    close: () => next.close(),
  });

  /** The source of a copy, which the store knows by its own name. */
  function copied({ source, headers }: WriteRequest): Pick<WriteRequest, "source" | "headers"> | undefined {
    if (source === undefined) return undefined;
    const renamed = headers.map(([name, value]): [string, string] => [
      name,
      name === "x-amz-copy-source" ? value.replace(/^(\/?)[^/]+/, (_, slash: string) => slash + storeBucket) : value,
    ]);
    return { source: stored(source), headers: renamed };
  }

  function onlyAlias({ buckets, ...rest }: BucketList): BucketList {
    return {
      ...rest,
      buckets: buckets.filter(({ name }) => name === storeBucket).map((listed) => ({ ...listed, name: bucket })),
    };
  }
}
