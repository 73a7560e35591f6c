import type { Agent, RequestOptions } from "node:https";
import type { KubeAccess } from "../../kubernetes/kube-access.js";
import { requestText } from "../../runtime/http-text.js";
import { jsonObject } from "./json-object.js";
import { ACCEPTED_TYPES, type SigningKeys, signingKeys } from "./signing-keys.js";

/** The port of a Kubernetes API server, for what it says about ServiceAccount tokens. */
export interface ServiceAccountApi {
  /** Requests the cluster's issuer and keys. Undefined: discovery is forbidden or not served. Rejects if the API server fails. */
  discover(signal: AbortSignal): Promise<SigningKeys | undefined>;
  /** Asks whether a token is valid for one of the audiences. Rejects if the API server fails, or forbids the request. */
  review(token: string, audiences: readonly string[], signal: AbortSignal): Promise<ReviewStatus>;
}

/** The status of a TokenReview, as the API server sent it. */
export interface ReviewStatus {
  readonly authenticated?: unknown;
  readonly user?: { readonly username?: unknown } | null;
  readonly audiences?: unknown;
}

const TIMEOUT_MS = 5_000;
const MAX_BYTES = 256 << 10;

const DISCOVERY = "/.well-known/openid-configuration";
/** Keys come from the API server itself, because the address in the discovery document is often unreachable from pods. */
const KEYS = "/openid/v1/jwks";
const REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews";

/** Requests of the API server with the credentials of `openAccess`, which is called for each request. */
export function serviceAccountApi(openAccess: () => Promise<KubeAccess>): ServiceAccountApi {
  return {
    async discover(signal) {
      const access = await openAccess();
      const answers = await Promise.all([DISCOVERY, KEYS].map((path) => request(access, path, signal)));
      if (answers.some(({ status }) => status === 403 || status === 404)) return undefined;
      const [document, keySet] = answers.map(({ status, text }, at) => {
        const path = at === 0 ? DISCOVERY : KEYS;
        if (status !== 200) throw new Error(`the Kubernetes API server answered ${status} to a request of ${path}`);
        return jsonObject(text, path);
      });
      const { issuer } = document!;
      if (typeof issuer !== "string" || issuer === "")
        throw new Error(`${DISCOVERY} of the Kubernetes API server names no issuer`);
      return signingKeys(issuer, keySet);
    },
    async review(token, audiences, signal) {
      const review = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token, audiences } };
      const { status, text } = await request(await openAccess(), REVIEWS, signal, JSON.stringify(review));
      if (status !== 201) throw new Error(`the Kubernetes API server answered ${status} to a TokenReview`);
      return (jsonObject(text, "the TokenReview").status ?? {}) as ReviewStatus;
    },
  };
}

async function request(
  access: KubeAccess,
  path: string,
  signal: AbortSignal,
  body?: string,
): Promise<{ readonly status: number; readonly text: string }> {
  const options: RequestOptions = { headers: { accept: ACCEPTED_TYPES, "content-type": "application/json" } };
  await access.authorize(options);
  try {
    return await requestText({ url: access.server + path, options, body, timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES, signal });
  } finally {
    (options.agent as Agent | undefined)?.destroy();
  }
}
