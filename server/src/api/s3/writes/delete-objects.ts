import { createHash } from "node:crypto";
import { type BucketRef, type ObjectRef, parseObjectUrl } from "@frontcache/proto";
import type { Cache } from "../../../routing/cache.js";
import { AccessDenied } from "../../../security/grants/authorization.js";
import type { Operation as GrantedOperation } from "../../../security/grants/grants.js";
import type { Payload } from "../../../writes/payload.js";
import type { RequiredGrant } from "../../../writes/write-through.js";
import type { HttpContext } from "../../http/http-context.js";
import type { Document } from "../document-answer.js";
import { nameXml, XML_HEADER } from "../xml.js";
import { type NamedObject, parseDeleteDocument } from "./delete-document.js";
import { documentOf } from "./write-document.js";
import { writeHeaders } from "./write-headers.js";

/** A thousand of the longest keys, escaped. */
const MAX_BYTES = 8 << 20;

/** Headers with checksums of the body, which is written anew. */
const OF_BODY = /^(?:content-md5|content-type|x-amz-(?:sdk-checksum-algorithm|checksum-.+))$/;

/** Deletes those objects that the principal may delete, in one request to the origin. Each key is decided about by itself. */
export async function deleteObjects(context: HttpContext, cache: Cache, bucket: BucketRef, payload: Payload): Promise<Document> {
  const { request, principal, signal } = context;
  const { objects, isQuiet } = parseDeleteDocument(await payload.whole(MAX_BYTES));
  const { passed, administers } = writeHeaders(request, bucket.scheme);
  const operations: GrantedOperation[] = administers ? ["delete", "admin"] : ["delete"];
  const [allowed, denied]: NamedObject[][] = [[], []];
  const grants: RequiredGrant[] = [];
  for (const object of objects) {
    const ref = refOf(bucket, object.key);
    if (mayDelete(context, operations, ref)) {
      allowed!.push(object);
      grants.push(...operations.map((operation) => ({ operation, ref })));
    } else denied!.push(object);
  }
  const errors = denied!.map(deniedXml).join("");
  if (allowed!.length === 0) {
    const body = `${XML_HEADER}<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${errors}</DeleteResult>`;
    return { headers: ["Content-Type", "application/xml"], body: Buffer.from(body) };
  }
  const quiet = isQuiet ? "<Quiet>true</Quiet>" : "";
  const xml = `${XML_HEADER}<Delete>${quiet}${allowed!.map((object) => object.xml).join("")}</Delete>`;
  const body = Buffer.from(xml);
  const md5 = createHash("md5").update(body).digest("base64");
  const answer = await cache.ask({
    kind: "write",
    ref: bucket,
    method: "POST",
    query: [["delete", ""]],
    headers: [...passed.filter(([name]) => !OF_BODY.test(name)), ["content-type", "application/xml"], ["content-md5", md5]],
    grants,
    changes: allowed!.flatMap((object) => changedBy(bucket, object)),
    body,
    mayRepeat: false,
    principal,
    signal,
  });
  if (errors === "" || answer.status !== 200) return documentOf(answer);
  const merged = answer.body
    .toString()
    .replace(/<\/(?:\w+:)?DeleteResult>\s*$|<DeleteResult([^<>]*)\/>\s*$/, (end, attributes?: string) =>
      end.startsWith("</") ? errors + end : `<DeleteResult${attributes ?? ""}>${errors}</DeleteResult>`,
    );
  return documentOf({ ...answer, body: Buffer.from(merged) });
}

function mayDelete({ authorization, principal }: HttpContext, operations: readonly GrantedOperation[], ref: ObjectRef): boolean {
  try {
    for (const operation of operations) authorization?.check(principal, operation, { bucket: ref, prefix: ref.key }, ref.url);
    return true;
  } catch (error) {
    if (error instanceof AccessDenied) return false;
    throw error;
  }
}

function refOf({ scheme, bucket }: BucketRef, key: string): ObjectRef {
  return parseObjectUrl(`${scheme}://${bucket}/${key}`);
}

function changedBy(bucket: BucketRef, { key, versionId }: NamedObject): ObjectRef[] {
  const ref = refOf(bucket, key);
  const name = bucket.scheme === "gs" ? "generation" : "versionId";
  return versionId === undefined ? [ref] : [ref, parseObjectUrl(`${ref.url}?${name}=${versionId}`)];
}

function deniedXml({ key, versionId }: NamedObject): string {
  const version = versionId === undefined ? "" : `<VersionId>${nameXml(versionId)}</VersionId>`;
  return `<Error><Key>${nameXml(key)}</Key>${version}<Code>AccessDenied</Code><Message>Access Denied</Message></Error>`;
}
