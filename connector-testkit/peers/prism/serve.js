// Runs Prism in this very process, so that ending it ends Prism, and ends with its owner: when
// that is gone, the input ends. Before that, tells whether the document is valid OpenAPI.
"use strict";

process.stdin.on("end", () => process.exit()).resume();

async function main(document) {
  const { Validator } = await import("@seriousme/openapi-schema-validator");
  const { valid, errors } = await new Validator().validate(document);
  if (!valid) {
    const said = typeof errors === "string" ? errors : JSON.stringify(errors, null, 1);
    throw new Error(`not valid OpenAPI: ${said}`);
  }
  process.argv.splice(2, 1, "mock", "--errors", "--host", "127.0.0.1", "--port", "0", document);
  require("@stoplight/prism-cli/dist/index.js");
}

main(process.argv[2]).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
  process.stdin.destroy();
});
