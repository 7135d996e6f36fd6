// The public signatures of every entry, from the built declarations: `npm run api` fails when they are not those of
// the reports in api/, `npm run api:update` writes the reports anew, for a review to see what changes.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Extractor, ExtractorConfig, ExtractorLogLevel } from "@microsoft/api-extractor";

const root = fileURLToPath(new URL("../..", import.meta.url));
const packagePath = join(root, "package.json");
const { exports } = JSON.parse(readFileSync(packagePath, "utf8")) as {
  exports: Record<string, { import?: { types: string } }>;
};
const isUpdate = process.argv.includes("--update");
const temporary = mkdtempSync(join(tmpdir(), "gsp-api-"));

/** Whether the entry's report is what its declarations say; brings it up to date where that is asked for. */
function report(types: string): boolean {
  const name = /([\w-]+)\.d\.ts$/.exec(types)?.[1];
  const silent = { default: { logLevel: ExtractorLogLevel.None } };
  const config = ExtractorConfig.prepare({
    packageJsonFullPath: packagePath,
    configObjectFullPath: undefined,
    configObject: {
      projectFolder: root,
      mainEntryPointFilePath: join(root, types),
      compiler: { tsconfigFilePath: join(root, "tsconfig.json") },
      apiReport: {
        enabled: true,
        reportFileName: `${name}.api.md`,
        reportFolder: join(root, "test/package/api"),
        reportTempFolder: temporary,
      },
      messages: { extractorMessageReporting: silent, tsdocMessageReporting: silent },
    },
  });
  const { apiReportChanged } = Extractor.invoke(config, {
    localBuild: isUpdate,
    messageCallback(message) {
      message.handled = true;
    },
  });
  if (apiReportChanged) console.log(`${isUpdate ? "updated" : "differs"}: test/package/api/${name}.api.md`);
  return isUpdate || !apiReportChanged;
}

try {
  const entries = Object.values(exports).flatMap((conditions) => conditions.import?.types ?? []);
  const differing = entries.filter((types) => !report(types));
  if (differing.length > 0) {
    console.log(
      "Public signatures changed. Where that is meant: npm run api:update, and a line in CHANGELOG.md.",
    );
    process.exitCode = 1;
  }
} finally {
  rmSync(temporary, { recursive: true });
}
