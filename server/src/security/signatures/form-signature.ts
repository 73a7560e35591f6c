import type { Clock } from "../../runtime/clock.js";
import type { Authenticated, FormFields } from "../authenticator.js";
import type { Identities } from "../identities/identities-file.js";
import { credentialIn, refused } from "./authorization-header.js";
import { amzDateMs } from "./presigned.js";
import { checkSessionToken, isEqual, MAX_SKEW_MS, WRONG_SIGNATURE } from "./signature-rules.js";
import { requiredField } from "./signature-v2.js";
import { ALGORITHM, type Signer } from "./signer.js";

/** S3's limit for what is signed in advance: seven days. */
const MAX_AGE_MS = 7 * 86_400_000;

/** Verifies the signature of version 4 of a form's policy. Undefined: the form has none, or by an access key that is not known. */
export function authenticateForm(
  fields: FormFields,
  { accessKeys }: Pick<Identities, "accessKeys">,
  signer: Signer,
  clock: Pick<Clock, "nowMs">,
): Authenticated | undefined {
  if (!FIELDS.some((name) => fields.has(name))) return undefined;
  if (fields.has("awsaccesskeyid")) throw refused("InvalidArgument", "A form has one signature: of version 4, or of version 2");
  const [algorithm, credential, amzDate, signature] = FIELDS.map((name) => requiredField(fields, name)) as FieldValues;
  const policy = requiredField(fields, "policy");
  if (algorithm !== ALGORITHM) throw refused("InvalidArgument", `X-Amz-Algorithm only supports "${ALGORITHM}"`);
  const { accessKeyId, day, region } = credentialIn(credential, "AuthorizationQueryParametersError");
  const key = accessKeys.get(accessKeyId);
  if (key === undefined) return undefined;
  const signedAtMs = amzDateMs(amzDate);
  if (signedAtMs === undefined || !amzDate.startsWith(day)) {
    throw refused("InvalidArgument", "X-Amz-Date must be formated via ISO8601 Basic format, and of the day of the credential");
  }
  const ageMs = clock.nowMs() - signedAtMs;
  if (ageMs < -MAX_SKEW_MS) throw refused("AccessDenied", "Request is not valid yet");
  if (ageMs > MAX_AGE_MS) throw refused("AccessDenied", "Request has expired");
  checkSessionToken(fields.get("x-amz-security-token"), key);
  // It is the policy as sent that is signed, in base64.
  const right = signer.signatureOfText(policy, day, key, { region, service: "s3" });
  if (isEqual(right, signature)) return key.authenticated;
  throw refused("SignatureDoesNotMatch", WRONG_SIGNATURE);
}

const FIELDS = ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"] as const;

type FieldValues = [algorithm: string, credential: string, amzDate: string, signature: string];
