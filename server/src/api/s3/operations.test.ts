import { describe, expect, it } from "vitest";
import { Query } from "../../runtime/query.js";
import { recognize, type Scope } from "./operations.js";

function recognized(method: string, scope: Scope, query: string): string {
  const found = recognize(method, scope, new Query(query));
  switch (found.kind) {
    case "operation":
      return found.operation;
    case "unknown":
      return `unknown ${found.subresource}`;
    case "conflict":
      return `conflict of ${found.subresources.join(" and ")}`;
    case "method":
      return `only ${found.allowed.join(", ")}`;
  }
}

describe("the operation of a request", () => {
  it.each([
    ["GET", "service", "", "ListBuckets"],
    ["GET", "service", "x-id=ListBuckets&max-buckets=3", "ListBuckets"],
    ["GET", "bucket", "", "ListObjects"],
    ["GET", "bucket", "prefix=acl&delimiter=", "ListObjects"],
    ["GET", "bucket", "list-type=2&prefix=", "ListObjectsV2"],
    ["GET", "bucket", "location", "GetBucketLocation"],
    ["GET", "bucket", "object-lock=", "GetObjectLockConfiguration"],
    ["GET", "bucket", "versions&prefix=a", "ListObjectVersions"],
    ["GET", "bucket", "%61cl", "GetBucketAcl"],
    ["HEAD", "bucket", "", "HeadBucket"],
    ["GET", "object", "", "GetObject"],
    ["GET", "object", "x-id=GetObject&versionId=a&partNumber=1&response-content-type=", "GetObject"],
    ["GET", "object", "X-Amz-Signature=&foo=1&_&123&v2", "GetObject"],
    ["GET", "object", "uploadId=u&max-parts=2", "ListParts"],
    ["GET", "object", "tagging=&versionId=a", "GetObjectTagging"],
    ["HEAD", "object", "partNumber=1", "HeadObject"],
    ["PUT", "object", "uploadId=u&partNumber=1", "UploadPart"],
    ["POST", "object", "select&select-type=2", "SelectObjectContent"],
    ["DELETE", "bucket", "", "DeleteBucket"],
  ] as const)("of %s of a(n) %s with %j is %s", (method, scope, query, operation) => {
    expect(recognized(method, scope, query)).toBe(operation);
  });

  it("is refused if the sub-resource is unknown, and if there are two", () => {
    expect(recognized("GET", "object", "annotation")).toBe("unknown annotation");
    expect(recognized("GET", "object", "policy=")).toBe("unknown policy");
    expect(recognized("GET", "bucket", "list-type=2&new-thing")).toBe("unknown new-thing");
    expect(recognized("GET", "object", "acl&tagging")).toBe("conflict of acl and tagging");
    expect(recognized("GET", "object", "__proto__&constructor=1&toString=1")).toBe("GetObject");
  });

  it("is refused if the sub-resource does not have the method", () => {
    expect(recognized("GET", "object", "restore")).toBe("only POST");
    expect(recognized("HEAD", "object", "acl")).toBe("only GET, PUT");
    expect(recognized("HEAD", "service", "")).toBe("only GET");
    expect(recognized("toString", "object", "")).toBe("only GET, HEAD, PUT, DELETE");
  });
});
