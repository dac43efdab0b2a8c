// A client by openid-client, unmodified. It reads one JSON object a line and answers with one:
// begin → the URL to send the browser to; finish → what came of the URL that the browser was sent back to; logout → the URL to send the browser to; refresh, introspect,
// revoke; resource → what another server answers to the token.
import { createInterface } from 'node:readline'
import * as client from 'openid-client'

const [issuer, id, secret, redirect] = process.argv.slice(2)
const config = await client.discovery(new URL(issuer), id, secret, client.ClientSecretBasic(secret), { execute: [client.allowInsecureRequests] })
let checks, tokens

const answers = {
  async begin(more) {
    const pkceCodeVerifier = client.randomPKCECodeVerifier()
    checks = { pkceCodeVerifier, expectedState: client.randomState(), expectedNonce: client.randomNonce() }
    return client.buildAuthorizationUrl(config, {
      redirect_uri: redirect, scope: 'openid offline_access', state: checks.expectedState, nonce: checks.expectedNonce,
      code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256', ...more,
    }).href
  },
  async finish(url) {
    tokens = await client.authorizationCodeGrant(config, new URL(url), checks)
    const { sub } = tokens.claims()
    const info = await client.fetchUserInfo(config, tokens.access_token, sub)
    return { claims: tokens.claims(), info }
  },
  async refresh() {
    tokens = await client.refreshTokenGrant(config, tokens.refresh_token)
    return tokens.claims()
  },
  // What a resource answers; where it wants a stronger sign-in (RFC 9470), what the request for one has to say.
  async resource(url) {
    try {
      const res = await client.fetchProtectedResource(config, tokens.access_token, new URL(url), 'GET')
      return { status: res.status }
    } catch (e) {
      if (!(e instanceof client.WWWAuthenticateChallengeError)) throw e
      const { error, acr_values } = e.cause[0].parameters
      return { status: e.status, error, more: { acr_values } }
    }
  },
  introspect: () => client.tokenIntrospection(config, tokens.access_token),
  logout: more => client.buildEndSessionUrl(config, { id_token_hint: tokens.id_token, ...more }).href,
  revoke: () => client.tokenRevocation(config, tokens.refresh_token),
}

for await (const line of createInterface({ input: process.stdin })) {
  const { ask, with: what } = JSON.parse(line)
  let answer
  try {
    answer = { ok: await answers[ask](what) }
  } catch (e) {
    answer = { error: e.error ?? e.code ?? String(e), description: e.error_description ?? String(e) }
  }
  console.log(JSON.stringify(answer))
}
