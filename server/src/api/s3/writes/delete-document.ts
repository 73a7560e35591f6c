import { malformedXml, readXml } from "../xml-reading.js";

/** An object that a DeleteObjects request names. */
export interface NamedObject {
  readonly key: string;
  readonly versionId: string | undefined;
  /** Its element as sent, with conditions. */
  readonly xml: string;
}

export interface DeleteDocument {
  readonly objects: readonly NamedObject[];
  /** Only failures are answered. */
  readonly isQuiet: boolean;
}

/** S3's limit. */
const MAX_OBJECTS = 1_000;

/** Parses the document of a DeleteObjects request. Throws MalformedXML. */
export function parseDeleteDocument(body: Uint8Array): DeleteDocument {
  const found: (Omit<NamedObject, "xml"> & { readonly from: number; readonly to: number })[] = [];
  let isQuiet = false;
  let from = 0;
  let fields = new Map<string, string>();
  const text = readXml(body, "Delete", 3, {
    begin: (path, at) => {
      if (path.length === 2) [from, fields] = [at, new Map()];
    },
    end: (path, content, to) => {
      const name = path.at(-1)!;
      if (path.length === 3) fields.set(name, content);
      if (path.length !== 2) return;
      if (name === "Quiet") isQuiet = content.trim() === "true";
      if (name !== "Object") return;
      const key = fields.get("Key");
      if (key === undefined || key === "" || found.length === MAX_OBJECTS) throw malformedXml();
      const versionId = fields.get("VersionId");
      found.push({ key, versionId: versionId === "" ? undefined : versionId, from, to });
    },
  });
  if (found.length === 0) throw malformedXml();
  return { objects: found.map(({ from, to, ...object }) => ({ ...object, xml: text.slice(from, to) })), isQuiet };
}
