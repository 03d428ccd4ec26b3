// Prints the identity of this process in AWS, through the AWS SDK for JavaScript v3, as one JSON line.
//
// The line is {"arn", "account", "expires"} or {"error", "kind"}; docs/operate/prove.md lists the kinds.
// Usage: node probe.mjs PROFILE. An empty PROFILE selects none. The environment is used as it is.
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";

const UNREACHABLE = new Set(["ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "ETIMEDOUT", "EHOSTUNREACH", "EAI_AGAIN"]);
const FILE = new Set(["ENOENT", "EACCES"]);

async function identity(profile) {
  const client = new STSClient({
    ...(profile && { profile }),
    maxAttempts: 2,
    requestHandler: { connectionTimeout: 10_000, requestTimeout: 20_000 },
  });
  const caller = await client.send(new GetCallerIdentityCommand({}));
  const { expiration } = await client.config.credentials();
  return { arn: caller.Arn, account: caller.Account, expires: expiration?.toISOString().replace(/\.\d+Z$/, "Z") ?? null };
}

function kind(error) {
  if (error.$fault || error.$metadata?.httpStatusCode) return error.name;
  if (error.name === "TimeoutError" || UNREACHABLE.has(error.code)) return "Unreachable";
  if (FILE.has(error.code)) return "TokenFile";
  if (/region is missing/i.test(error.message)) return "RegionMissing";
  // If a profile cannot be resolved, the SDK tries its whole chain and then reports only that no source gave credentials.
  if (/could not load credentials|could not resolve credentials/i.test(error.message)) return "NoCredentials";
  return error.name === "CredentialsProviderError" ? "Configuration" : "Unknown";
}

try {
  console.log(JSON.stringify(await identity(process.argv[2])));
} catch (error) {
  console.log(JSON.stringify({ error: `${error.name}: ${error.message}`, kind: kind(error) }));
  process.exitCode = 1;
}
