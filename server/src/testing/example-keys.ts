import { CacheError } from "@frontcache/proto";
import { type Identities, parseIdentities } from "../security/identities/identities-file.js";

/** The access key of the examples in S3's documentation. */
export const EXAMPLE_ID = "AKIAIOSFODNN7EXAMPLE";
export const EXAMPLE_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
export const EXAMPLE_SESSION_TOKEN = "a/session+token==";

/** `ada` has the key of the examples; `session` has one with a session token. */
export const exampleIdentities: Identities = parseIdentities(`
identities:
  - name: ada
    accessKeys: [{ id: ${EXAMPLE_ID}, secret: ${EXAMPLE_SECRET} }]
  - name: session
    accessKeys: [{ id: ASIASESSION, secret: ${EXAMPLE_SECRET}, sessionToken: "${EXAMPLE_SESSION_TOKEN}" }]
grants: []
`);

/**
 * The name of the principal that an authenticator finds, or the code of S3's error; "none" for credentials that are unknown to it. Throws
 * what does not mean wrong credentials.
 */
export function outcomeOf(authenticate: () => { readonly principal: { readonly name: string } } | undefined): string {
  try {
    return authenticate()?.principal.name ?? "none";
  } catch (error) {
    const { code, s3Code } = CacheError.from(error);
    if (code !== "UNAUTHENTICATED") throw error;
    return s3Code ?? "no code";
  }
}
