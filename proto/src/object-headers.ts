import { Metadata } from "@grpc/grpc-js";
import type { ObjectInfo } from "./object-info.js";

/** Response headers between members: what an answer to ReadRange has no field for, since its messages are FrontCache's. */
const CONTENT_TYPE = "frontcache-content-type-bin";
const LAST_MODIFIED = "frontcache-last-modified-ms";

/** An object's type and time as the headers of an answer. The type is sent as bytes: origins pass on whatever was put. */
export function objectHeaders({ contentType, lastModifiedMs }: ObjectInfo): Metadata {
  const headers = new Metadata();
  if (contentType !== undefined) headers.set(CONTENT_TYPE, Buffer.from(contentType));
  if (lastModifiedMs !== undefined) headers.set(LAST_MODIFIED, `${lastModifiedMs}`);
  return headers;
}

/** What the headers of an answer say of its object; nothing where the answering member sent none. */
export function fromObjectHeaders(headers: Metadata): Pick<ObjectInfo, "contentType" | "lastModifiedMs"> {
  const [contentType] = headers.get(CONTENT_TYPE);
  const lastModifiedMs = Number(headers.get(LAST_MODIFIED)[0] ?? Number.NaN);
  return {
    ...(contentType === undefined ? {} : { contentType: contentType.toString() }),
    ...(Number.isFinite(lastModifiedMs) ? { lastModifiedMs } : {}),
  };
}
