import { type BucketRef, CacheError, type ObjectRef, parseObjectUrl } from "@frontcache/proto";
import type { JsonMethod, WriteRequest } from "../../origin/origin.js";
import type { Cache } from "../../routing/cache.js";
import type { Query } from "../../runtime/query.js";
import type { RequiredGrant } from "../../writes/write-through.js";
import type { HttpContext, Upload } from "../http/http-context.js";
import type { Document } from "../s3/document-answer.js";
import { answerChange } from "../s3/writes/write-answer.js";
import { administered, documentHeaders, documentIn, jsonDocumentOf, parametersIn, principalOf } from "./json-requests.js";
import type { JsonTarget } from "./json-target.js";
import { uploadObject } from "./json-uploads.js";
import type { Resource } from "./written-resource.js";

/** Parameters of every request that writes. */
const OF_ALL = "alt|fields|prettyPrint|projection|userProject|quotaUser|\\$\\..+";
const CONDITIONS = "if(?:Metag|G)eneration(?:Not)?Match";
const OF_SOURCE = "sourceGeneration|ifSource(?:Metag|G)eneration(?:Not)?Match";

/** One kind of request that changes an object. */
interface JsonWrite {
  readonly operation: string;
  readonly method: WriteRequest["method"];
  readonly json: JsonMethod;
  readonly parameters: RegExp;
  readonly ref: ObjectRef;
  readonly source?: ObjectRef;
  readonly grants: readonly RequiredGrant[];
  readonly changes: readonly ObjectRef[];
  /** The body is a document of GCS. Absent: it has none. */
  readonly hasDocument?: boolean;
}

/** Answers a request of the JSON API that changes something. Returns false if it is not supported. Never throws. */
export function answerJsonWrite(context: HttpContext, cache: Cache, target: JsonTarget, query: Query): boolean {
  const { method } = context.request;
  if (target.kind === "uploads") {
    const subject = { operation: "objects.insert", url: target.ref.url, resource: target.ref.url };
    answerChange(context, subject, (upload) => uploadObject({ context, upload, cache, bucket: target.ref, query }));
    return true;
  }
  const write = writeOf(target, method, query);
  if (write === undefined) return false;
  const { operation, ref } = write;
  answerChange(context, { operation, url: ref.url, resource: ref.url }, (upload) => send(context, upload, cache, write, query));
  return true;
}

function writeOf(target: JsonTarget, method: string | undefined, query: Query): JsonWrite | undefined {
  switch (target.kind) {
    case "object": {
      if (target.isDownload || query.get("alt") === "media") return undefined;
      return objectWrite(target.ref, method, query);
    }
    case "compose": {
      if (method !== "POST") return undefined;
      const { ref } = target;
      const parameters = parametersOf(`${CONDITIONS}|kmsKeyName|destinationPredefinedAcl`);
      const of = { operation: "objects.compose", json: { kind: "compose" }, parameters } as const;
      return { ...of, method, ref, grants: [{ operation: "write", ref }], changes: [ref], hasDocument: true };
    }
    case "copyTo":
    case "rewriteTo":
    case "moveTo": {
      if (method !== "POST") return undefined;
      const { kind, ref, source } = target;
      const own = "destinationKmsKeyName|destinationPredefinedAcl|rewriteToken|maxBytesRewrittenPerCall|dropContextGroups";
      const grants: RequiredGrant[] = [
        { operation: "write", ref },
        { operation: "read", ref: source },
      ];
      if (kind === "moveTo") grants.push({ operation: "delete", ref: source });
      return {
        operation: `objects.${{ copyTo: "copy", rewriteTo: "rewrite", moveTo: "move" }[kind]}`,
        method,
        json: { kind },
        parameters: parametersOf(`${CONDITIONS}|${OF_SOURCE}|${own}`),
        ref,
        source,
        grants,
        changes: kind === "moveTo" ? [ref, source] : [ref],
        hasDocument: true,
      };
    }
    default:
      return undefined;
  }
}

/** A change of an object's metadata, or its deletion. */
function objectWrite(ref: ObjectRef, method: string | undefined, query: Query): JsonWrite | undefined {
  const generation = query.get("generation");
  const isGeneration = generation !== undefined && /^\d{1,20}$/.test(generation);
  const changes = isGeneration ? [ref, parseObjectUrl(`${ref.url}?generation=${generation}`)] : [ref];
  const of = { ref, changes, json: { kind: "object" } } as const;
  if (method === "DELETE") {
    const parameters = parametersOf(`generation|${CONDITIONS}`);
    return { ...of, operation: "objects.delete", method, parameters, grants: [{ operation: "delete", ref }] };
  }
  if (method !== "PATCH" && method !== "PUT") return undefined;
  const parameters = parametersOf(`generation|${CONDITIONS}|predefinedAcl|overrideUnlockedRetention`);
  const grants: RequiredGrant[] = [{ operation: "write", ref }];
  if (method === "PATCH") return { ...of, operation: "objects.patch", method, parameters, grants, hasDocument: true };
  // It replaces all metadata: what the document does not name, such as a hold, ends.
  grants.push({ operation: "admin", ref });
  return { ...of, operation: "objects.update", method, parameters, grants, hasDocument: true };
}

function parametersOf(own: string): RegExp {
  return new RegExp(`^(?:${OF_ALL}|${own})$`);
}

async function send(context: HttpContext, upload: Upload, cache: Cache, write: JsonWrite, query: Query): Promise<Document> {
  const { json, method, ref, source, changes, hasDocument = false } = write;
  const parameters = parametersIn(query, write.parameters);
  const none = { resource: undefined, document: Buffer.alloc(0) };
  const { resource, document } = hasDocument ? await documentIn(context, upload) : none;
  const composed = json.kind === "compose" ? compositionOf(ref, resource) : undefined;
  const described = composed === undefined ? resource : composed.destination;
  const grants = [...write.grants, ...administered(ref, query, described), ...(composed?.grants ?? [])];
  const answer = await cache.ask({
    kind: "write",
    ref,
    method,
    json,
    query: parameters,
    headers: documentHeaders(context, document),
    source,
    grants,
    changes: [...changes, ...(composed?.deleted ?? [])],
    body: document,
    mayRepeat: method === "DELETE" && !parameters.some(([name]) => /^(?:if|generation$)/.test(name)),
    ...principalOf(context),
  });
  return jsonDocumentOf(answer);
}

/** GCS puts at most this many objects together. */
const MAX_SOURCES = 32;
const COMPOSITION_FIELDS: ReadonlySet<string> = new Set(["kind", "sourceObjects", "destination", "deleteSourceObjects"]);
const SOURCE_FIELDS: ReadonlySet<string> = new Set(["name", "generation", "objectPreconditions"]);

/** What a document says about the objects that are put together. */
interface Composition {
  /** Each of them must be readable and, if GCS deletes them, deletable. */
  readonly grants: readonly RequiredGrant[];
  readonly deleted: readonly ObjectRef[];
  readonly destination: Resource | undefined;
}

/** Throws INVALID_ARGUMENT for a document with fields that are not known: GCS could find other objects in them. */
function compositionOf({ bucket }: BucketRef, resource: Resource | undefined): Composition {
  const { sourceObjects, destination, deleteSourceObjects = false } = resource ?? {};
  checkFields(resource, COMPOSITION_FIELDS);
  if (!Array.isArray(sourceObjects)) throw new CacheError("INVALID_ARGUMENT", "the document must name sourceObjects");
  if (sourceObjects.length > MAX_SOURCES)
    throw new CacheError("INVALID_ARGUMENT", `the document names more than ${MAX_SOURCES} sourceObjects`);
  if (destination !== undefined && (typeof destination !== "object" || destination === null))
    throw new CacheError("INVALID_ARGUMENT", "the destination must be an object");
  const sources = sourceObjects.map((each: unknown) => {
    checkFields(each, SOURCE_FIELDS);
    const name = (each as { name?: unknown } | null)?.name;
    if (typeof name !== "string" || name === "")
      throw new CacheError("INVALID_ARGUMENT", "each of sourceObjects must have a name");
    return parseObjectUrl(`gs://${bucket}/${name}`);
  });
  const deleted = deleteSourceObjects === false ? [] : sources;
  const grants = [
    ...sources.map((ref) => ({ operation: "read", ref }) as const),
    ...deleted.map((ref) => ({ operation: "delete", ref }) as const),
  ];
  return { grants, deleted, destination };
}

function checkFields(value: unknown, known: ReadonlySet<string>): void {
  const unknown = Object.keys(value ?? {}).find((name) => !known.has(name));
  if (unknown !== undefined)
    throw new CacheError(
      "INVALID_ARGUMENT",
      `the field ${JSON.stringify(unknown.slice(0, 100))} is not known for objects.compose`,
    );
}
