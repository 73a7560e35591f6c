import { parseObjectUrl } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { redirectedPlace } from "./bucket-place.js";

const ref = parseObjectUrl("s3://bucket/key");
const asked = { region: "us-east-1", endpoint: undefined };

interface Said {
  readonly status?: number;
  readonly region?: string;
  readonly location?: string;
  readonly endpoint?: string;
}

/** The place that a redirect leads to, as the SDK reports its error. */
function place({ status = 301, region, location, endpoint }: Said, custom?: string) {
  const headers = { ...(region !== undefined && { "x-amz-bucket-region": region }), ...(location !== undefined && { location }) };
  const error = { $metadata: { httpStatusCode: status }, $response: { headers }, Endpoint: endpoint };
  return redirectedPlace(error, ref, asked, custom === undefined ? undefined : new URL(custom));
}

describe("the place that a redirect names", () => {
  it("is a region, for AWS's own endpoints", () => {
    expect(place({ region: "eu-west-1" })).toEqual({ region: "eu-west-1", endpoint: undefined });
    expect(place({ endpoint: "bucket.s3.eu-west-1.amazonaws.com" })).toEqual({ region: "eu-west-1", endpoint: undefined });
    const location = "https://bucket.s3-us-west-2.amazonaws.com/key";
    expect(place({ status: 307, location })).toEqual({ region: "us-west-2", endpoint: undefined });
    expect(place({ status: 307, location: "https://s3.eu-west-1.amazonaws.com.evil.example/bucket/key" })).toBeUndefined();
    expect(place({ region: "us-east-1" })).toBeUndefined();
    expect(place({})).toBeUndefined();
  });

  it("is an endpoint of the same provider, for a configured endpoint", () => {
    const custom = "https://s3.eu-west-1.amazonaws.com";
    expect(place({ endpoint: "bucket.s3.eu-north-1.amazonaws.com" }, custom)).toEqual({
      region: "eu-north-1",
      endpoint: "https://s3.eu-north-1.amazonaws.com",
    });
    expect(place({ endpoint: "s3.us-west-1.wasabisys.com", region: "us-west-1" }, "https://s3.wasabisys.com")).toEqual({
      region: "us-west-1",
      endpoint: "https://s3.us-west-1.wasabisys.com",
    });
    expect(place({ endpoint: "s3.us-west-1.wasabisys.com" }, custom)).toBeUndefined();
  });

  it.each([
    ["http://minio.example.com:9000", "http://minio.example.com:9001/bucket/key", "http://minio.example.com:9001"],
    ["http://minio.example.com:9000", "http://bucket.eu.minio.example.com/key", "http://eu.minio.example.com"],
    ["http://minio.example.com", "https://minio.example.com/bucket/key", "https://minio.example.com"],
    ["http://10.0.0.1:9000", "http://10.0.0.1:9002/bucket/key", "http://10.0.0.1:9002"],
    ["http://minio.example.com", "http://other.example.com/bucket/key", undefined],
    ["http://minio.example.com", "http://evilminio.example.com/bucket/key", undefined],
    ["http://minio.example.com", "http://minio.example.com.evil.example/", undefined],
    ["https://minio.example.com", "http://minio.example.com/bucket/key", undefined],
    ["http://10.0.0.1:9000", "http://169.254.169.254/latest", undefined],
    ["http://minio.example.com", "file:///etc/passwd", undefined],
    ["http://minio.example.com", "http://minio.example.com/bucket/key", undefined],
  ])("is the same host or one below it, for another store: %s, %s", (custom, location, endpoint) => {
    expect(place({ status: 307, location }, custom)?.endpoint).toBe(endpoint);
  });

  it("is a region alone, for a store that signs by region", () => {
    expect(place({ status: 400, region: "eu-west-1" }, "http://minio.example.com")).toEqual({
      region: "eu-west-1",
      endpoint: undefined,
    });
    expect(place({ region: "evil.example.com/" }, "http://minio.example.com")).toBeUndefined();
  });
});
