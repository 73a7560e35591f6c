import { detectResources, envDetector, type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import { ATTR_SERVICE_NAME, ATTR_SERVICE_VERSION } from "@opentelemetry/semantic-conventions";
import { ATTR_SERVICE_INSTANCE_ID } from "@opentelemetry/semantic-conventions/incubating";

/**
 * Returns the resource of the metrics: service, member and version. As in the standard, `OTEL_RESOURCE_ATTRIBUTES` and
 * `OTEL_SERVICE_NAME` take precedence.
 */
export function memberResource(member: string, version: string): Resource {
  const own = resourceFromAttributes({
    [ATTR_SERVICE_NAME]: "frontcache",
    [ATTR_SERVICE_INSTANCE_ID]: member,
    [ATTR_SERVICE_VERSION]: version,
  });
  return own.merge(detectResources({ detectors: [envDetector] }));
}
