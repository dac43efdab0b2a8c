// An application that registers itself by openid-client, unmodified, and prints what it was given.
import * as client from 'openid-client'

const [issuer, token, redirect] = process.argv.slice(2)
const config = await client.dynamicClientRegistration(
  new URL(issuer),
  { client_name: 'Wiki', redirect_uris: [redirect], token_endpoint_auth_method: 'client_secret_post', application_type: 'web', contacts: ['ada@example.com'] },
  client.ClientSecretPost(),
  { initialAccessToken: token, execute: [client.allowInsecureRequests] },
)
console.log(JSON.stringify(config.clientMetadata()))
