import { CacheError, type ObjectRef, parseObjectUrl, type S3Code } from "@frontcache/proto";
import type { WriteAnswer } from "../../../origin/origin.js";
import type { Cache } from "../../../routing/cache.js";
import { requesting } from "../../../security/principal.js";
import { mayBePresigned } from "../../../security/signatures/presigned.js";
import { ONE_MECHANISM } from "../../../security/signatures/signature-rules.js";
import { requiredField } from "../../../security/signatures/signature-v2.js";
import { escapeKey, escapeName } from "../../../security/signatures/signer.js";
import { Payload } from "../../../writes/payload.js";
import type { RequiredGrant } from "../../../writes/write-through.js";
import { type HttpContext, sourceOf, type Upload } from "../../http/http-context.js";
import type { Document } from "../document-answer.js";
import type { BucketTarget } from "../request-target.js";
import { documentOf } from "../writes/write-document.js";
import { writeHeaders } from "../writes/write-headers.js";
import { nameXml, XML_HEADER } from "../xml.js";
import { boundaryOf, type Form, readForm } from "./form-body.js";
import { taggingHeader } from "./form-tagging.js";
import { PostPolicy } from "./post-policy.js";

/**
 * Uploads the file of a form to a bucket (POST Object). If the form has a policy, the object is written as whoever signed the policy,
 * otherwise as the principal of the request. The origin gets a PUT.
 */
export async function postObject(
  context: HttpContext,
  upload: Upload,
  received: Payload,
  cache: Cache,
  { ref: bucket }: BucketTarget,
): Promise<Document> {
  const boundary = boundaryOf(context.request.headers["content-type"]);
  const form = await readForm(
    received.pieces(async () => {}),
    boundary,
    received.length,
  );
  const ref = parseObjectUrl(`${bucket.scheme}://${bucket.bucket}/${keyOf(form)}`);
  authorizeForm(context, form, ref);
  const headers = headersOf(form);
  const { passed, administers } = writeHeaders({ headers }, bucket.scheme);
  const grants: RequiredGrant[] = [{ operation: "write", ref }];
  if (administers) grants.push({ operation: "admin", ref });
  const { principal, signal } = context;
  const length = { "content-length": String(form.fileLength) };
  const answer = await cache.ask({
    kind: "write",
    ref,
    method: "PUT",
    query: [],
    headers: passed,
    grants,
    changes: [ref],
    body: new Payload({ headers: { ...headers, ...length }, bytes: form.file, signatures: undefined }),
    mayRepeat: true,
    principal,
    signal,
  });
  return answer.status === 200 ? uploaded(answer, form, ref, locationOf(context, upload, ref)) : documentOf(answer);
}

/** The key, with the file's name in place of `${filename}`. Throws S3's error. */
function keyOf({ fields, fileName }: Form): string {
  const key = fields.get("key");
  if (key === undefined) {
    const message = "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.";
    throw refused("InvalidArgument", message);
  }
  const expanded = key.replace(/\$\{filename\}/g, () => fileName);
  if (expanded === "") throw refused("InvalidArgument", "User key must have a length greater than 0.");
  return expanded;
}

const SIGNATURES = ["signature", "awsaccesskeyid", "x-amz-signature", "x-amz-credential", "x-amz-algorithm"];

/** Makes the principal that signed the policy of a form that of the request. Throws S3's error for a form that it does not permit. */
function authorizeForm(context: HttpContext, { fields, fileLength }: Form, { bucket, key }: ObjectRef): void {
  const { request, authentication, authenticationFailures, listener, client, clock } = context;
  if (!fields.has("policy") && !SIGNATURES.some((name) => fields.has(name))) return;
  try {
    if (request.headers.authorization !== undefined || mayBePresigned(request.url ?? ""))
      throw new CacheError("UNAUTHENTICATED", ONE_MECHANISM, { s3Code: "InvalidArgument" });
    if (!fields.has("x-amz-signature") && !fields.has("x-amz-credential")) {
      for (const name of ["awsaccesskeyid", "signature"]) requiredField(fields, name);
    }
    const policy = requiredField(fields, "policy");
    const found = authentication.authenticateForm(fields);
    if (found !== undefined) context.principal = requesting(found, sourceOf(context));
    const permitted = new PostPolicy(policy);
    permitted.check({ bucket, key, fields }, clock.nowMs());
    permitted.checkLength(fileLength);
  } catch (error) {
    const { code, message } = CacheError.from(error);
    if (code === "UNAUTHENTICATED") authenticationFailures.failed(message, { listener, client: client.address });
    throw error;
  }
}

/** Fields that become headers of the object. */
const HEADERS = /^(?:cache-control|content-(?:type|disposition|encoding|language|md5)|expires|x-amz-[!#$%&'*+.^_`|~0-9a-z-]+)$/;
/** Those that belong to the form, or say something about a request's body. */
const NOT_HEADERS =
  /^x-amz-(?:signature|credential|algorithm|date|security-token|user-agent|content-sha256|decoded-content-length|trailer)$/;

/** The headers of a PUT that does the same as the form. Throws S3's error. */
function headersOf({ fields }: Form): Record<string, string> {
  const headers: Record<string, string> = {};
  const add = (name: string, value: string): void => {
    if (/[\0\r\n]/.test(value)) throw refused("InvalidArgument", `The field ${JSON.stringify(name)} has more than one line.`);
    // As Node's headers are: each character is a byte.
    headers[name] = Buffer.from(value).toString("latin1");
  };
  for (const [name, value] of fields) {
    if (name.startsWith("x-amz-copy-source")) throw refused("InvalidArgument", "A form cannot copy an object.");
    if (HEADERS.test(name) && !NOT_HEADERS.test(name)) add(name, value);
  }
  const [acl, tagging] = [fields.get("acl"), fields.get("tagging")];
  if (acl !== undefined) add("x-amz-acl", acl);
  if (tagging !== undefined) add("x-amz-tagging", taggingHeader(tagging));
  return headers;
}

/** The answer that the form asks for: a status, a document or a redirection. */
function uploaded(answer: WriteAnswer, { fields }: Form, { bucket, key }: ObjectRef, location: string): Document {
  const { headers } = documentOf({ ...answer, headers: answer.headers.filter(([name]) => name !== "content-type") });
  const etag = answer.headers.find(([name]) => name === "etag")?.[1] ?? "";
  const page = pageOf(fields.get("success_action_redirect") ?? fields.get("redirect"));
  if (page !== undefined) {
    const query = `bucket=${escapeName(bucket)}&key=${escapeName(key)}&etag=${escapeName(etag)}`;
    const target = `${page.href.replace(/#.*$/s, "")}${page.search === "" ? "?" : "&"}${query}`;
    return { status: 303, headers: [...headers, "Location", target], body: EMPTY };
  }
  const own = [...headers, "Location", location];
  const status = Number(fields.get("success_action_status") ?? 204);
  if (status === 201) {
    const names = `<Bucket>${nameXml(bucket)}</Bucket><Key>${nameXml(key)}</Key><ETag>${nameXml(etag)}</ETag>`;
    const xml = `${XML_HEADER}<PostResponse><Location>${nameXml(location)}</Location>${names}</PostResponse>`;
    return { status, headers: [...own, "Content-Type", "application/xml"], body: Buffer.from(xml) };
  }
  return { status: status === 200 ? 200 : 204, headers: own, body: EMPTY };
}

const EMPTY = Buffer.alloc(0);

/** The page that is shown next. Undefined: the form names none, or none that a browser could be sent to. */
function pageOf(text: string | undefined): URL | undefined {
  const page = text !== undefined && URL.canParse(text) ? new URL(text) : undefined;
  return page !== undefined && /^https?:$/.test(page.protocol) ? page : undefined;
}

/** The URL of the object at this endpoint. */
function locationOf({ request }: HttpContext, { body }: Upload, { key }: ObjectRef): string {
  const protocol = "encrypted" in body.socket ? "https" : "http";
  const path = (request.url ?? "/").split("?", 1)[0]!.replace(/\/*$/, "");
  return `${protocol}://${request.headers.host ?? ""}${path}/${escapeKey(key)}`;
}

function refused(s3Code: S3Code, message: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", message, { s3Code });
}
