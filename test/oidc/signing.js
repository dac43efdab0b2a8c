// Clients by openid-client, unmodified, that push and sign their requests and whose tokens are bound to a key. It reads one JSON object a line and
// answers with one: keys → the public keys that it is to be registered with; begin → the URL to send the browser to; finish → what came of the URL that the
// browser was sent back to; refresh, introspect; bearer → what userinfo says to the token without its key.
import { createInterface } from 'node:readline'
import * as client from 'openid-client'

const [issuer, id, redirect] = process.argv.slice(2)
const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
const signing = { key: pair.privateKey, kid: '1' }
let config, dpop, checks, tokens

const answers = {
  async keys() {
    const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', pair.publicKey)
    return JSON.stringify({ keys: [{ kty, crv, x, y, kid: '1', alg: 'ES256', use: 'sig' }] })
  },
  async discover() {
    config = await client.discovery(new URL(issuer), id, undefined, client.PrivateKeyJwt(signing), { execute: [client.allowInsecureRequests] })
    dpop = { DPoP: client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256')) }
  },
  async begin({ push, sign, ...more }) {
    const pkceCodeVerifier = client.randomPKCECodeVerifier()
    checks = { pkceCodeVerifier, expectedState: client.randomState(), expectedNonce: client.randomNonce() }
    let wish = new URLSearchParams({
      redirect_uri: redirect, scope: 'openid offline_access', state: checks.expectedState, nonce: checks.expectedNonce,
      code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256', ...more,
    })
    let url = sign ? await client.buildAuthorizationUrlWithJAR(config, wish, signing) : client.buildAuthorizationUrl(config, wish)
    if (push) url = await client.buildAuthorizationUrlWithPAR(config, sign ? url.searchParams : wish, dpop)
    return url.href
  },
  async finish(url) {
    tokens = await client.authorizationCodeGrant(config, new URL(url), checks, undefined, dpop)
    const { sub } = tokens.claims()
    const info = await client.fetchUserInfo(config, tokens.access_token, sub, dpop)
    return { claims: tokens.claims(), info, type: tokens.token_type }
  },
  async refresh() {
    const next = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, dpop)
    tokens = { ...next, refresh_token: next.refresh_token ?? tokens.refresh_token }
    return { type: next.token_type, turned: next.refresh_token !== undefined }
  },
  introspect: () => client.tokenIntrospection(config, tokens.access_token),
  async bearer() {
    const res = await fetch(config.serverMetadata().userinfo_endpoint, { headers: { authorization: `Bearer ${tokens.access_token}` } })
    return res.status
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { ask, with: what } = JSON.parse(line)
  let answer
  try {
    answer = { ok: await answers[ask](what) }
  } catch (e) {
    answer = { error: e.error ?? e.code ?? String(e), description: e.error_description ?? String(e.cause ?? e) }
  }
  console.log(JSON.stringify(answer))
}
