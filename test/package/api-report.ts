// The public signatures of every entry, from the built declarations: `npm run api` fails when they are not those of
// the reports in api/, `npm run api:update` writes the reports anew, for a review to see what changes.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { CompilerState, Extractor, ExtractorConfig, ExtractorLogLevel } from "@microsoft/api-extractor";

const root = fileURLToPath(new URL("../..", import.meta.url));
const packagePath = join(root, "package.json");
const { exports } = JSON.parse(readFileSync(packagePath, "utf8")) as {
  exports: Record<string, { import?: { types: string } }>;
};
const isUpdate = process.argv.includes("--update");
const temporary = mkdtempSync(join(tmpdir(), "gsp-api-"));

function configOf(types: string): ExtractorConfig {
  const name = /([\w-]+)\.d\.ts$/.exec(types)?.[1];
  const silent = { default: { logLevel: ExtractorLogLevel.None } };
  return ExtractorConfig.prepare({
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
}

/** Whether the entry's report is what its declarations say; brings it up to date where that is asked for. */
function report(config: ExtractorConfig, compilerState: CompilerState): boolean {
  const { apiReportChanged } = Extractor.invoke(config, {
    localBuild: isUpdate,
    compilerState,
    messageCallback(message) {
      message.handled = true;
    },
  });
  if (apiReportChanged)
    console.log(`${isUpdate ? "updated" : "differs"}: ${relative(root, config.reportFilePath)}`);
  return isUpdate || !apiReportChanged;
}

try {
  const entries = Object.values(exports).flatMap((conditions) => conditions.import?.types ?? []);
  const [first, ...others] = entries.map(configOf);
  if (!first) throw new Error("package.json exports nothing");
  // The compiler reads the declarations once, for all entries.
  const additionalEntryPoints = others.map(({ mainEntryPointFilePath }) => mainEntryPointFilePath);
  const compilerState = CompilerState.create(first, { additionalEntryPoints });
  const differing = [first, ...others].filter((config) => !report(config, compilerState));
  if (differing.length > 0) {
    console.log(
      "Public signatures changed. Where that is meant: npm run api:update, and a line in CHANGELOG.md.",
    );
    process.exitCode = 1;
  }
} finally {
  rmSync(temporary, { recursive: true });
}
