import type { IncomingHttpHeaders } from "node:http";

/**
 * An unsuccessful answer of S3, with the fields of the SDK's errors. Not an Error: a missing object or another version is an ordinary
 * outcome, and needs no stack.
 */
export class S3Refusal {
  /** S3's code; empty if the answer has none, as one to a HEAD. */
  readonly name: string;
  readonly message: string;
  /** The bucket's region and endpoint, in the bodies of some redirects. */
  readonly Region: string | undefined;
  readonly Endpoint: string | undefined;
  readonly $metadata: { readonly httpStatusCode: number };
  readonly $response: { readonly headers: Readonly<Record<string, string>> };

  /** `body`: the start of the answer's body. */
  constructor(status: number, headers: IncomingHttpHeaders, body: string) {
    this.name = textOf(body, "Code") ?? "";
    this.message = textOf(body, "Message") ?? "";
    this.Region = textOf(body, "Region");
    this.Endpoint = textOf(body, "Endpoint");
    this.$metadata = { httpStatusCode: status };
    this.$response = { headers: headers as Readonly<Record<string, string>> };
  }

  /** For logs. */
  toString(): string {
    const { name, message, $metadata } = this;
    return [`status ${$metadata.httpStatusCode}`, name, message].filter((part) => part !== "").join(": ");
  }
}

const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };

/** The text of an element of S3's error document, which has no nested elements of these names. */
function textOf(xml: string, element: string): string | undefined {
  const start = xml.indexOf(`<${element}>`);
  if (start < 0) return undefined;
  const from = start + element.length + 2;
  const end = xml.indexOf("<", from);
  if (end < 0) return undefined;
  return xml.slice(from, end).replace(/&(lt|gt|quot|apos|amp);/g, (_, name: string) => ENTITIES[name]!);
}
