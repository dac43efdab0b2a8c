// Writes api.d.ts anew, of openapi.json: the calls of the second door and the session's. internal/web/api has the test that says when, and how.

import {createHash} from "node:crypto";
import {readFile, writeFile} from "node:fs/promises";
import openapiTS, {astToString} from "openapi-typescript";

const text = await readFile(new URL("openapi.json", import.meta.url));
const digest = createHash("sha256").update(text).digest("hex");
const types = astToString(await openapiTS(JSON.parse(text)));
await writeFile(new URL("api.d.ts", import.meta.url), `// Generated from openapi.json, ${digest}.\n${types}`);
