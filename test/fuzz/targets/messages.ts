import { isDeepStrictEqual } from "node:util";
import { crc32 } from "node:zlib";
import {
  decodeFooter,
  decodeReadRangeRequest,
  decodeReadRangeResponse,
  encodeFooter,
  encodeReadRangeResponse,
  MemberList,
  Membership,
  ReadRangeRequest,
  ReadRangeResponse,
} from "@frontcache/proto";
import { readPod } from "@frontcache/server/testing";
import { type FuzzTarget, promise, resultOf } from "../target.js";

/** Decoders may throw any error for invalid bytes. Both decoders must throw, and neither may invent data. */
const anyError = (): boolean => true;

const BYTES = [
  "\x00",
  "\x08",
  "\x0a",
  "\x10",
  "\x12",
  "\x1a",
  "\x22",
  "\x7f",
  "\x80",
  "\xff",
  "\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
];

/** Read requests: our decoder compared with the generated one. */
export const readRangeRequestTarget: FuzzTarget = {
  name: "read-range-request",
  tokens: BYTES,
  check(input) {
    const bytes = Buffer.from(input, "latin1");
    const ours = resultOf(() => decodeReadRangeRequest(bytes), anyError)?.value;
    const generated = resultOf(() => ReadRangeRequest.decode(bytes), anyError)?.value;
    // The generated decoder throws for inexact numbers; ours returns them, to be rejected by name. It also accepts some
    // invalid bytes as the message's end, which ours rejects.
    if (ours === undefined || generated === undefined) return;
    if (Number.isSafeInteger(ours.offset) && Number.isSafeInteger(ours.length)) {
      promise(isDeepStrictEqual(ours, generated), "both read the same");
    }
  },
};

/** Responses of a member: our encoder and decoder compared with the generated ones. */
export const readRangeResponseTarget: FuzzTarget = {
  name: "read-range-response",
  tokens: BYTES,
  check(input) {
    const bytes = Buffer.from(input, "latin1");
    const ours = resultOf(() => decodeReadRangeResponse(bytes), anyError)?.value;
    const generated = resultOf(() => ReadRangeResponse.decode(bytes), anyError)?.value;
    // The generated decoder accepts some invalid bytes as the message's end, which ours rejects.
    promise(ours === undefined || generated !== undefined, "what the generated reader refuses is refused");
    if (ours === undefined || generated === undefined) return;
    promise(isDeepStrictEqual(ours, { ...generated, data: Buffer.from(generated.data) }), "both read the same");
    const again = ReadRangeResponse.decode(encodeReadRangeResponse(ours));
    promise(Buffer.from(again.data).equals(Buffer.from(ours.data)), "what is written is read as it was");
  },
};

const GEOMETRY = { blockBytes: 65_536, segmentBytes: 8_192 };
const FOOTER_BYTES = 4_096;

/** Footers of block files. Their checksum is corrected, so that the checks after it are reached. */
export const footerTarget: FuzzTarget = {
  name: "footer",
  tokens: ["\x00", "\xff", "\xff\xff\xff\xff", "\x00\x00\x00\x80", "frcblock", "\xc3"],
  check(input) {
    const bytes = Buffer.alloc(FOOTER_BYTES);
    bytes.write(input, 0, FOOTER_BYTES - 4, "latin1");
    promise(decodeFooter(bytes, GEOMETRY) === undefined || crc32(bytes.subarray(0, -4)) === 0, "a wrong checksum is seen");
    bytes.writeUInt32LE(crc32(bytes.subarray(0, -4)), FOOTER_BYTES - 4);
    const footer = decodeFooter(bytes, GEOMETRY);
    if (footer === undefined) return;
    const written = encodeFooter(footer, GEOMETRY);
    promise(written !== undefined, "what was read can be written");
    promise(JSON.stringify(decodeFooter(written, GEOMETRY)) === JSON.stringify(footer), "and is read as it was");
  },
};

/** Member lists in messages of a member. */
export const memberListTarget: FuzzTarget = {
  name: "member-list",
  tokens: BYTES,
  check(input) {
    const message = resultOf(() => MemberList.decode(Buffer.from(input, "latin1")), anyError)?.value;
    if (message === undefined) return;
    const list = resultOf(
      () => Membership.fromMessage(message),
      (error) => error instanceof Error,
    )?.value;
    if (list === undefined) return;
    const names = list.members.map(({ name }) => name);
    promise(new Set(names).size === names.length && !names.includes(""), "names are distinct and not empty");
    const owner = list.owner("s3://bucket/key", 0);
    promise(names.length === 0 ? owner === undefined : names.includes(owner!.name), "the owner is one of them");
    promise(Membership.fromMessage(list.toMessage("x")).hash === list.hash, "what is sent on is the same list");
  },
};

/** Pods from the Kubernetes API: JSON. */
export const podTarget: FuzzTarget = {
  name: "pod",
  tokens: ['"', "{", "}", "[", "]", "null", "true", "0", '"metadata":', '"status":', '"conditions":', '"Ready"', ",", ":"],
  check(input) {
    const object = resultOf(() => JSON.parse(input) as unknown, anyError);
    if (object === undefined) return;
    const pod = readPod(object.value);
    if (pod === undefined) return;
    promise(typeof pod.name === "string" && pod.name !== "" && typeof pod.uid === "string", "a pod has a name and a UID");
    promise(pod.address === undefined || typeof pod.address === "string", "an address is text");
    promise(typeof pod.ready === "boolean" && typeof pod.terminating === "boolean", "it is ready or not, terminating or not");
    promise(Number.isFinite(pod.createdMs), "it was created at some time");
  },
};
