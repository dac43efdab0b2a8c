// Writes api.d.ts anew, from the description that a server serves: the calls of the second door and the session's, and what they refer to.
//
//   COUNTERSIGN_URL=http://localhost:8080 npm run types

import {writeFile} from "node:fs/promises";
import openapiTS, {astToString} from "openapi-typescript";

const base = process.env.COUNTERSIGN_URL ?? "http://localhost:8080";
const api = await (await fetch(base + "/api/v1/openapi.json")).json();

api.paths = Object.fromEntries(Object.entries(api.paths).filter(([path]) => path.startsWith("/api/v1/door/") || path === "/api/v1/session"));
delete api.webhooks; // which are no calls
const wanted = new Set();
const look = (value) => {
	if (typeof value !== "object" || value === null) return;
	if (typeof value.$ref === "string" && !wanted.has(value.$ref)) {
		wanted.add(value.$ref);
		look(value.$ref.slice(2).split("/").reduce((at, part) => at[part], api));
	}
	Object.values(value).forEach(look);
};
look(api.paths);
for (const kind of ["schemas", "parameters"]) {
	api.components[kind] = Object.fromEntries(Object.entries(api.components[kind] ?? {}).filter(([name]) => wanted.has(`#/components/${kind}/${name}`)));
}
await writeFile(new URL("api.d.ts", import.meta.url), astToString(await openapiTS(api)));
