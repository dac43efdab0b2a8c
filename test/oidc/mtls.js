// A client by openid-client, unmodified, that proves who it is by a certificate (RFC 8705), which the agent of its fetch has. It reads one JSON object a line and answers with one:
// discover; begin → the URL to send the browser to; finish → what came of the URL that the browser was sent back to; refresh, introspect, token; userinfo → the status that userinfo
// answers to a token where certificates are shown, with its own; bearer → the same where nobody is asked for one; door → the second door, by clients/js.
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { Agent, request } from 'node:https'
import * as client from 'openid-client'
import { Countersign } from '../../clients/js/server.js'

const [issuer, id, redirect, way, dir] = process.argv.slice(2)
const agent = new Agent({ ca: readFileSync(`${dir}/ca.pem`), cert: readFileSync(`${dir}/cert.pem`), key: readFileSync(`${dir}/key.pem`) })

// fetchBy is fetch over node:https, whose agent has the certificate: the way that openid-client documents (customFetch).
function fetchBy(url, { method, headers, body }) {
  if (!String(url).startsWith('https:')) return fetch(url, { method, headers, body })
  return new Promise((resolve, reject) => {
    const call = request(url, { method, agent, headers: Object.fromEntries(new Headers(headers)) }, res => {
      const parts = []
      res.on('data', part => parts.push(part)).on('end', () => resolve(new Response(Buffer.concat(parts), { status: res.statusCode, headers: res.headers }))).on('error', reject)
    })
    call.on('error', reject)
    call.end(body === undefined || body === null ? undefined : String(body))
  })
}

let config, checks, tokens
const answers = {
  async discover() {
    config = await client.discovery(new URL(issuer), id, { use_mtls_endpoint_aliases: true }, client.TlsClientAuth(), {
      execute: [client.allowInsecureRequests], [client.customFetch]: fetchBy,
    })
    const { token_endpoint_auth_methods_supported: methods, mtls_endpoint_aliases: aliases } = config.serverMetadata()
    return { offered: methods.includes(way), at: aliases.token_endpoint }
  },
  async begin({ push, ...more }) {
    const pkceCodeVerifier = client.randomPKCECodeVerifier()
    checks = { pkceCodeVerifier, expectedState: client.randomState(), expectedNonce: client.randomNonce() }
    const wish = new URLSearchParams({
      redirect_uri: redirect, scope: 'openid offline_access', state: checks.expectedState, nonce: checks.expectedNonce,
      code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256', ...more,
    })
    return (push ? await client.buildAuthorizationUrlWithPAR(config, wish) : client.buildAuthorizationUrl(config, wish)).href
  },
  async finish(url) {
    tokens = await client.authorizationCodeGrant(config, new URL(url), checks)
    const { sub } = tokens.claims()
    return { claims: tokens.claims(), info: await client.fetchUserInfo(config, tokens.access_token, sub), type: tokens.token_type }
  },
  async refresh() {
    const next = await client.refreshTokenGrant(config, tokens.refresh_token)
    tokens = { ...next, refresh_token: next.refresh_token ?? tokens.refresh_token }
    return { turned: next.refresh_token !== undefined }
  },
  introspect: () => client.tokenIntrospection(config, tokens.access_token),
  token: () => tokens.access_token,
  async userinfo(token) {
    return (await fetchBy(config.serverMetadata().mtls_endpoint_aliases.userinfo_endpoint, { headers: { authorization: `Bearer ${token}` } })).status
  },
  async bearer(token) {
    return (await fetch(config.serverMetadata().userinfo_endpoint, { headers: { authorization: `Bearer ${token}` } })).status
  },
  async door(url) {
    const door = new Countersign({ url, id, fetch: fetchBy })
    const { opened } = await door.putAccount('u-17', { email: 'grace@example.org' })
    const { step } = await door.begin({ reference: 'u-17', person: { address: '192.0.2.7' } })
    return { opened, step }
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { ask, with: what } = JSON.parse(line)
  let answer
  try {
    answer = { ok: await answers[ask](what) }
  } catch (e) {
    answer = { error: e.error ?? e.code ?? String(e), description: e.error_description ?? [e.cause ?? e, e.requestId].join(' ').trim() }
  }
  console.log(JSON.stringify(answer))
}
