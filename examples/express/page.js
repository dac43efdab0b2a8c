const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

export const safe = (text) => String(text).replace(/[&<>"]/g, (c) => entities[c]);

export const page = (title, body) =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${safe(title)}</title>` +
  `<link rel="icon" href="data:,"><main><h1>${safe(title)}</h1>${body}</main></html>`;
