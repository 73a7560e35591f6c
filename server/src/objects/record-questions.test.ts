import { LookUpRecordsRequest, MAX_REQUEST_BYTES, MAX_VERSION_LENGTH, type MemberInfo, RecordAnswer } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { expect, it } from "vitest";
import { RecentCallers } from "../security/recent-callers.js";
import type { Peers } from "./peers.js";
import { RecordQuestions } from "./record-questions.js";

const member: MemberInfo = { name: "b", grpcAddress: "127.0.0.1:1", httpAddress: "127.0.0.1:2" };

it("sends the questions of one turn together, in calls that members accept", async () => {
  const requests: LookUpRecordsRequest[] = [];
  const objects = {
    async lookUpRecords(_: MemberInfo, request: LookUpRecordsRequest, onAnswer: (answer: RecordAnswer) => void): Promise<void> {
      requests.push(request);
      for (const [index, { key }] of request.questions.entries()) onAnswer(RecordAnswer.fromPartial({ index, error: key }));
    },
  };
  const peers = {
    self: { ...member, name: "a" },
    callers: new RecentCallers(),
    connections: { objects },
    call: () => ({ end() {} }),
  };
  const questions = new RecordQuestions(peers as unknown as Peers, new ManualClock(), new AbortController().signal);
  const urls = Array.from({ length: 250 }, (_, at) => `s3://bucket/${String(at).padStart(1_024, "k")}`);
  const answers = await Promise.all(
    urls.map((url) => questions.ask(member, url, { received: "v".repeat(MAX_VERSION_LENGTH) }, 0)),
  );
  expect(answers.map(({ answer }) => answer.error)).toEqual(urls);
  expect(requests.length).toBeLessThan(5);
  for (const request of requests) expect(LookUpRecordsRequest.encode(request).finish().length).toBeLessThan(MAX_REQUEST_BYTES);
});
