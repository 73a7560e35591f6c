import { describe, expect, it } from "vitest";
import { alternativeNames, namesIn } from "./certificate-names.js";

describe("the names in a certificate", () => {
  it("are its alternative names and its common name, the most exact kind first", () => {
    const subject = "C=DE\nO=jobs\nOU=readers\nCN=reader";
    const subjectAltName = "DNS:reader.example, IP Address:10.0.0.1, URI:spiffe://cluster/ns/jobs/sa/reader, email:a@b.example";
    expect(namesIn({ subject, subjectAltName })).toEqual({
      names: ["URI:spiffe://cluster/ns/jobs/sa/reader", "CN=reader", "email:a@b.example", "DNS:reader.example"],
      groups: ["O=jobs", "OU=readers"],
    });
    expect(namesIn({ subject: "CN=reader", subjectAltName: undefined })).toEqual({ names: ["CN=reader"], groups: [] });
    expect(namesIn({ subject: "O=", subjectAltName: "" })).toEqual({ names: [], groups: [] });
  });

  it("are never parts of other names", () => {
    // Node.js writes a name that contains a comma as a JSON text.
    const subjectAltName = 'URI:"spiffe://a, URI:spiffe://admin, DNS:admin", DNS:"x\\", DNS:admin"';
    expect(alternativeNames(subjectAltName)).toEqual(["URI:spiffe://a, URI:spiffe://admin, DNS:admin", 'DNS:x", DNS:admin']);
    expect(namesIn({ subject: "CN=a", subjectAltName }).names).not.toContain("URI:spiffe://admin");
    for (const malformed of ['DNS:"open', 'DNS:a"b, DNS:admin', "DNS:a,DNS:admin", ", DNS:admin", "DNS"])
      expect(alternativeNames(malformed)).toEqual([]);
  });

  it("are left out with control characters, and beyond 512 characters", () => {
    const subjectAltName = `DNS:"a\\nb", URI:${"x".repeat(600)}, DNS:c`;
    expect(namesIn({ subject: "", subjectAltName }).names).toEqual(["DNS:c"]);
  });
});
