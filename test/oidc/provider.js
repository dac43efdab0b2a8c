// An OpenID provider that others have written, npm oidc-provider, for TestWeAnswerAsOthersDo. It reads one JSON object, of its clients, and
// writes one, of its issuer. Whoever comes to a sign-in is "ada" at once, and agrees.
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { generateKeyPairSync } from 'node:crypto'
import Provider from 'oidc-provider'

const lines = createInterface({ input: process.stdin })
const { clients } = JSON.parse((await lines[Symbol.asyncIterator]().next()).value)
const server = createServer()
await new Promise((ready) => server.listen(0, '127.0.0.1', ready))
const issuer = `http://127.0.0.1:${server.address().port}`
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

const provider = new Provider(issuer, {
  clients,
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256' }] },
  cookies: { keys: ['a key of this test'] },
  scopes: ['openid', 'offline_access'],
  acrValues: ['aal1', 'aal2', 'aal3'],
  enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'none'],
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: (ctx, client, code) => client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
  features: { devInteractions: { enabled: false }, introspection: { enabled: true }, revocation: { enabled: true }, dPoP: { enabled: false }, rpInitiatedLogout: { enabled: false } },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  // Our clients are first parties: nobody is asked to consent.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId })
    grant.addOIDCScope('openid offline_access')
    await grant.save()
    return grant
  },
})

const answer = provider.callback()
server.on('request', async (req, res) => {
  if (!req.url.startsWith('/interaction/')) return answer(req, res)
  await provider.interactionFinished(req, res, { login: { accountId: 'ada' }, consent: {} }, { mergeWithLastSubmission: false })
})
console.log(JSON.stringify({ issuer }))
for await (const _ of lines); // until whoever asks has gone
process.exit(0)
