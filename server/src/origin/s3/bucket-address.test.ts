import * as commands from "@aws-sdk/client-s3";
import { describe, expect, it } from "vitest";
import { addressOf } from "./bucket-address.js";

// The SDK warns about the oldest Node that we support.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";

const credentials = { accessKeyId: "AKIA/with/slash", secretAccessKey: "secret" };

/** The address that a client of the SDK with such a configuration chooses for a bucket. Nothing is sent. */
async function address(bucket: string, config: commands.S3ClientConfig = {}) {
  const client = new commands.S3Client({ region: "eu-west-1", credentials, ...config });
  const found = await addressOf(client, commands, bucket);
  return found && { target: found.target, host: found.host, prefix: found.prefix, scope: found.scope };
}

const scope = { region: "eu-west-1", service: "s3" };

describe("the address of a bucket is the SDK's", () => {
  it.each<[what: string, bucket: string, config: commands.S3ClientConfig, target: string, prefix: string]>([
    ["virtual-host style", "bucket", {}, "https://bucket.s3.eu-west-1.amazonaws.com", ""],
    ["path style", "bucket", { forcePathStyle: true }, "https://s3.eu-west-1.amazonaws.com", "/bucket"],
    ["a name with dots", "a.b.c", {}, "https://s3.eu-west-1.amazonaws.com", "/a.b.c"],
    ["a name that is no host", "Old_Bucket", {}, "https://s3.eu-west-1.amazonaws.com", "/Old_Bucket"],
    ["dual-stack", "bucket", { useDualstackEndpoint: true }, "https://bucket.s3.dualstack.eu-west-1.amazonaws.com", ""],
    ["an alias of an access point", "point-abc123-s3alias", {}, "https://point-abc123-s3alias.s3.eu-west-1.amazonaws.com", ""],
    [
      "an endpoint with a port",
      "bucket",
      { endpoint: "http://store:9000", forcePathStyle: true },
      "http://store:9000",
      "/bucket",
    ],
    ["an endpoint with a path", "bucket", { endpoint: "https://store/s3/", forcePathStyle: true }, "https://store", "/s3/bucket"],
    ["a virtual host of an endpoint", "bucket", { endpoint: "https://store.example" }, "https://bucket.store.example", ""],
    ["the store itself", "", {}, "https://s3.eu-west-1.amazonaws.com", ""],
    ["the store itself, below a path", "", { endpoint: "https://store/s3", forcePathStyle: true }, "https://store", "/s3"],
  ])("with %s", async (_, bucket, config, target, prefix) => {
    expect(await address(bucket, config)).toEqual({ target, host: target.replace(/^https?:\/\//, ""), prefix, scope });
  });

  it("with FIPS, in the region of the signature", async () => {
    expect(await address("bucket", { region: "us-gov-east-1", useFipsEndpoint: true })).toEqual({
      target: "https://bucket.s3-fips.us-gov-east-1.amazonaws.com",
      host: "bucket.s3-fips.us-gov-east-1.amazonaws.com",
      prefix: "",
      scope: { region: "us-gov-east-1", service: "s3" },
    });
  });

  it("without a scope if nothing is signed", async () => {
    const anonymous = { signer: { sign: async (request: never) => request } };
    expect(await address("bucket", anonymous)).toMatchObject({ prefix: "", scope: undefined });
  });

  it("and unknown if the request needs a signature of another version", async () => {
    const signer = {
      sign: async (request: { headers: Record<string, string> }) => {
        request.headers.authorization = "AWS4-ECDSA-P256-SHA256 Credential=key/20261128/s3/aws4_request, SignedHeaders=host";
        return request;
      },
    };
    expect(await address("bucket", { signer: signer as never })).toBeUndefined();
  });

  it("which fails with the SDK's error if the SDK finds none", async () => {
    const failing = async (): Promise<never> => {
      throw new Error("no credentials");
    };
    await expect(address("bucket", { credentials: failing })).rejects.toThrow("no credentials");
  });
});
