import { describe, expect, it } from "vitest";
import { S3Refusal } from "./s3-refusal.js";

const document = (inner: string) => `<?xml version="1.0" encoding="UTF-8"?>\n<Error>${inner}</Error>`;

describe("a refusal of S3", () => {
  it("has the code, message, region and endpoint of its body", () => {
    const body = document(
      "<Code>PermanentRedirect</Code><Message>a &lt;b&gt; &amp;amp; c</Message><Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint><Region>eu-west-1</Region>",
    );
    expect(new S3Refusal(301, { "x-amz-bucket-region": "eu-west-1" }, body)).toMatchObject({
      name: "PermanentRedirect",
      message: "a <b> &amp; c",
      Endpoint: "b.s3.eu-west-1.amazonaws.com",
      Region: "eu-west-1",
      $metadata: { httpStatusCode: 301 },
      $response: { headers: { "x-amz-bucket-region": "eu-west-1" } },
    });
  });

  it.each(["", "<html>proxy</html>", "<Code>", "<Code>cut", "not xml"])("has no code if its body is %j", (body) => {
    const refusal = new S3Refusal(503, {}, body);
    expect([refusal.name, refusal.message, String(refusal)]).toEqual(["", "", "status 503"]);
  });

  it("is one line with status, code and message in logs", () => {
    expect(String(new S3Refusal(403, {}, document("<Code>AccessDenied</Code><Message>No</Message>")))).toBe(
      "status 403: AccessDenied: No",
    );
  });
});
