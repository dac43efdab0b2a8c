// Generated from openapi.json, 057121f423971bf9e1c24a90e11ce41e42a90a9aaa0ae57e39b0a61bc8b76beb.
export interface paths {
    "/api/v1/door/accounts/{reference}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Open an account, or change where its codes go
         * @description Nobody signs in to it here, and nothing of it is ever read back. Where codes go changes after the second door alone: name a flow that was allowed within the last minutes, or whoever has taken your account over has every code from then on. Every address is told.
         */
        put: operations["put-door-account"];
        post?: never;
        /**
         * Erase an account
         * @description And all that is kept of it, at once. Every address is told, and for 72 hours the account opens under no other.
         */
        delete: operations["remove-door-account"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/door/accounts/{reference}/apps": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make the key of a new authenticator app
         * @description Show it to the person as a QR code and keep it nowhere. It counts for nothing until its first code has confirmed it. It takes a flow of the account's that was allowed within the last minutes, and the person's addresses are told.
         */
        post: operations["add-door-app"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/door/accounts/{reference}/apps/{id}/confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Confirm a new app by its first code
         * @description From then on the second door asks for it, and sends no code by e-mail: have the person make backup codes. It takes a flow of the account's that was allowed within the last minutes, and the person's addresses are told.
         */
        post: operations["confirm-door-app"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/door/accounts/{reference}/apps/{id}/remove": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Remove an app or a token
         * @description It is not asked for any more. It takes a flow of the account's that was allowed within the last minutes, and the person's addresses are told.
         */
        post: operations["remove-door-app"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/door/accounts/{reference}/backup-codes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make a list of backup codes
         * @description In place of the one there is. Show it to the person, once, and keep it nowhere. It takes a flow of the account's that was allowed within the last minutes, and the person's addresses are told.
         */
        post: operations["make-door-backup-codes"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/door/accounts/{reference}/devices": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the devices that are remembered
         * @description Show them to their owner.
         */
        get: operations["list-door-devices"];
        put?: never;
        post?: never;
        /**
         * Forget all devices
         * @description Each meets a code at its next sign-in: after a theft, or a new password.
         */
        delete: operations["forget-door-devices"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/door/accounts/{reference}/devices/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Forget a device
         * @description It meets a code at its next sign-in.
         */
        delete: operations["forget-door-device"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/door/accounts/{reference}/factors": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List what the person has set up
         * @description Apps, tokens and backup codes. Nothing secret, and no address.
         */
        get: operations["list-door-factors"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/door/begin": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Come to the second door
         * @description Call it when the first proof, a password mostly, was right, and before. With step device have the browser sign the nonce; with step second have a code sent and typed in. Let the person in when an answer says allowed, and not before.
         */
        post: operations["begin-door"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/door/code": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Prove the code, and be remembered if the person likes
         * @description A wrong, old or expired code is code_refused. A malformed key to remember is found before the code is spent.
         */
        post: operations["prove-door-code"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/door/code/send": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Have a code sent
         * @description To the address of the kind asked for.
         */
        post: operations["send-door-code"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/door/device": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Show what the device signed
         * @description A device that is not recognised is no failure: a code is asked for.
         */
        post: operations["prove-door-device"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Check the session
         * @description Cheap enough to be asked at each request of an application: it is answered from memory.
         */
        get: operations["check-session"];
        put?: never;
        post?: never;
        /**
         * Sign out
         * @description Ends the session that asks.
         */
        delete: operations["sign-out"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        AddDoorAppInputBody: {
            /** @description A flow of this account's that was allowed within the last minutes. */
            flow: string;
            /**
             * @description What the person knows the account by, for the app to show beside your name. Left out, it is your name.
             * @example ada
             */
            label?: string;
        };
        AppRow: {
            /**
             * Format: date-time
             * @description Since when.
             */
            added_at: string;
            /** @description Names the app to its owner. Not a secret. */
            id: string;
            /**
             * Format: date-time
             * @description Missing if it never was.
             */
            last_used_at?: string;
            /**
             * @description What its owner calls it. May be empty.
             * @example My phone
             */
            name: string;
            /** @description Of a hardware token. */
            serial?: string;
        };
        Attestation: {
            /** @description Certificates (DER, base64url) of KeyStore.getCertificateChain, in its order. */
            chain?: string[] | null;
            /**
             * @description android-key is Android key attestation, with chain; apple-appattest is App Attest, with object.
             * @enum {string}
             */
            format: "android-key" | "apple-appattest";
            /** @description base64url of what DCAppAttestService.attestKey gives. */
            object?: string;
        };
        BackupCodesOutputBody: {
            /** @description Each works once, in the place of an app's code. Shown this once. */
            codes: string[] | null;
        };
        BeginDoorInputBody: {
            /** @description Handles that the browser or app keeps. */
            devices?: string[] | null;
            /** @description Whose browser or app stands behind the call. */
            person: components["schemas"]["Person"];
            /**
             * @description What your application calls the account, whose first proof it has just looked at.
             * @example u-17
             */
            reference: string;
            /**
             * @description Origin of the page that the person is at, one of those that the client was registered with: what browsers sign names it. Left out, it is the first.
             * @example https://photos.example.net
             */
            site?: string;
        };
        ConfirmDoorAppInputBody: {
            /**
             * @description That the app shows. It opens nothing else.
             * @example 492817
             */
            code: string;
            /** @description A flow of this account's that was allowed within the last minutes. */
            flow: string;
            /**
             * @description What its owner calls it.
             * @example My phone
             */
            name?: string;
        };
        Confirmation: {
            /** @description The key's thumbprint (RFC 7638, SHA-256). */
            jkt: string;
        };
        DeviceProof: {
            /** @description The newest handle given to this device. */
            handle: string;
            /** @description base64url of 64 bytes: with P-256 r‖s of ECDSA with SHA-256, with Ed25519 as it is, over "countersign-device-v1\nrecognise\n" origin "\n" nonce. */
            signature: string;
        };
        DeviceRow: {
            /**
             * Format: date-time
             * @description Since when it is remembered.
             */
            created_at: string;
            /** @description Whether the session that asks was opened from it. */
            current: boolean;
            /**
             * Format: date-time
             * @description Until when it is recognised.
             */
            expires_at: string;
            /** @description Names the device to its owner. Not a secret. */
            id: string;
            /**
             * Format: date-time
             * @description When it was last recognised.
             */
            last_seen_at: string;
            /**
             * @description What its owner may know it by.
             * @example Ada's phone
             */
            name: string;
            /**
             * @description Roughly where it was last seen. Missing where that is not known.
             * @example Graz, Austria
             */
            place?: string;
            /**
             * @description What it proves itself with: software_key is a key kept in the browser or app, dbsc one that the browser has bound to the machine. Of a key that its phone vouches for: android_tee is in protected hardware, android_strongbox in a security chip, app_attest of an app that is unchanged. Expect more kinds.
             * @enum {string}
             */
            strength: "software_key" | "dbsc" | "android_tee" | "android_strongbox" | "app_attest";
        };
        DoorBody: {
            /**
             * @description With allowed: what was proved, the first proof included (NIST SP 800-63B-4).
             * @enum {string}
             */
            acr?: "aal0" | "aal1" | "aal2" | "aal3";
            /** @description Whether the second door is open: let the person in. */
            allowed: boolean;
            /** @description With allowed: by which methods (RFC 8176). */
            amr?: string[] | null;
            /** @description What the device must keep from now on, in place of an older handle. */
            device?: components["schemas"]["NewRemembered"];
            /**
             * Format: date-time
             * @description When the flow must be finished.
             */
            expires_at?: string;
            /**
             * @description The flow's secret handle, in the first answer. Keep it on your server.
             * @example csf_…
             */
            flow?: string;
            /** @description What the device signs next. */
            nonce?: string;
            /**
             * @description What is wanted next: that the device signs, a code, or nothing.
             * @enum {string}
             */
            step: "device" | "second" | "done";
            /** @description With step second: where a code can come from, the better first: sent by sms or email, read off an app or a token (otp) or a list (backup). No address, nor a part of one. */
            ways?: string[] | null;
        };
        DoorCodeInputBody: {
            /**
             * @description As typed.
             * @example 492817
             */
            code: string;
            /** @description From the first answer. */
            flow: string;
            /** @description Whose browser or app stands behind the call. */
            person: components["schemas"]["Person"];
            /** @description To be recognised from now on. What the browser signs names the origin of your page. */
            remember?: components["schemas"]["Enrolment"];
            /**
             * @description Where the code is from, if the person had it already. Leave it out for a code that was sent.
             * @enum {string}
             */
            way?: "otp" | "backup";
        };
        DoorDeviceInputBody: {
            /** @description What the device signed. Left out, it cannot: a code is asked for. */
            device?: components["schemas"]["DeviceProof"];
            /** @description From the first answer. */
            flow: string;
            /** @description Whose browser or app stands behind the call. */
            person: components["schemas"]["Person"];
        };
        DoorDevicesOutputBody: {
            /** @description The one last seen first. */
            devices: components["schemas"]["DeviceRow"][] | null;
        };
        DoorFactorsOutputBody: {
            /** @description Authenticator apps and hardware tokens, the oldest first. */
            apps: components["schemas"]["AppRow"][] | null;
            /**
             * Format: int64
             * @description How many of the list were not used.
             */
            backup_codes_left: number;
        };
        DoorSendInputBody: {
            /** @description From the first answer. */
            flow: string;
            /** @description Whose browser or app stands behind the call. */
            person: components["schemas"]["Person"];
            /**
             * @description One of the ways offered.
             * @enum {string}
             */
            way: "sms" | "email";
        };
        Enrolment: {
            /** @description What the phone says of the key. docs/apps.md has how to ask it. */
            attestation?: components["schemas"]["Attestation"];
            /** @description A handle the device still has for this account; it is replaced. */
            handle?: string;
            /**
             * @description What its owner will know it by.
             * @example Ada's phone
             */
            name?: string;
            /** @description base64url of the SubjectPublicKeyInfo (DER) of a P-256 or Ed25519 key that cannot leave the device. */
            public_key: string;
            /** @description base64url of 64 bytes: with P-256 r‖s of ECDSA with SHA-256, with Ed25519 as it is, over "countersign-device-v1\nremember\n" origin "\n" nonce. */
            signature: string;
        };
        NewAppOutputBody: {
            /**
             * Format: date-time
             * @description When it must be confirmed.
             */
            expires_at: string;
            /** @description For the call that confirms it. */
            id: string;
            /**
             * @description base32 in groups of four. Shown this once.
             * @example JBSW Y3DP EHPK 3PXP
             */
            key: string;
            /**
             * @description For a QR code, or for a link on the phone itself; it has the name by which somebody signs in, for the app to show. Shown this once.
             * @example otpauth://totp/…
             */
            url: string;
        };
        NewRemembered: {
            /**
             * Format: date-time
             * @description Until when the device is remembered.
             */
            expires_at: string;
            /**
             * @description Shown this once. Worth nothing without the key.
             * @example csd_…
             */
            handle: string;
            /** @description The device's name in the list of devices. */
            id: string;
        };
        PassedFlow: {
            /** @description A flow of this account's that was allowed within the last minutes. */
            flow: string;
        };
        Person: {
            /**
             * @description The person's address of the network, as your application sees it. Limits count by it.
             * @example 192.0.2.7
             */
            address: string;
            /** @description As the person's browser or app sent it. Its name is told in letters. */
            user_agent?: string;
        };
        Problem: {
            /**
             * @description What programs should look at. Its meaning never changes.
             * @example flow_ended
             */
            code: string;
            /**
             * @description With client_outdated and api_retired: what to show the person, in their language (Accept-Language). With input_invalid: which field is wrong, and how.
             * @example This version of the app is too old and no longer works. Update the app, then try again.
             */
            detail?: string;
            /**
             * @description The name of this request in the server's log.
             * @example 9f86d081884c7d65
             */
            request_id: string;
            /**
             * Format: int64
             * @description The HTTP status.
             * @example 410
             */
            status: number;
            /**
             * @description The code in words, for people who develop.
             * @example The sign-in is over, or was begun elsewhere
             */
            title: string;
            /**
             * @description A name for the code.
             * @example urn:countersign:error:flow_ended
             */
            type: string;
        };
        PutAccountInputBody: {
            /**
             * @description Where codes and notices go, proved by you. Left out, it stays.
             * @example ada@example.org
             */
            email?: string;
            /** @description A flow of this account's that was allowed within the last minutes: wanted where email or phone changes. */
            flow?: string;
            /**
             * @description Of letters (BCP 47).
             * @example de
             */
            language?: string;
            /**
             * @description The same, for text messages.
             * @example +4915112345678
             */
            phone?: string;
        };
        PutAccountOutputBody: {
            /** @description Whether the account is new. */
            opened: boolean;
        };
        SendOutputBody: {
            /**
             * Format: date-time
             * @description Until when the code can be used. An older code is worthless now.
             */
            expires_at: string;
            /**
             * Format: date-time
             * @description When another code can be asked for; the second by another way needs no wait. Missing after the last one this sign-in gets.
             */
            resend_at?: string;
            /**
             * @description The way the code goes.
             * @enum {string}
             */
            way: "sms" | "email";
        };
        SessionBody: {
            /** @description The account, under the id that never changes. */
            account: string;
            /**
             * Format: int64
             * @description The same in seconds since 1970, as OpenID Connect writes it.
             */
            auth_time: number;
            /**
             * Format: date-time
             * @description When somebody last proved who they are.
             */
            authenticated_at: string;
            /** @description The key that the session is bound to, and which this call has proved. Missing if it is bound to none. */
            cnf?: components["schemas"]["Confirmation"];
            /**
             * Format: date-time
             * @description When it ends at the latest.
             */
            expires_at: string;
            /** @description Names the session to its owner. Not a secret. */
            id: string;
        };
    };
    responses: never;
    parameters: {
        /**
         * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
         * @example ios/4.2.1
         */
        client: string;
        /**
         * @description A name that you give the call, another for each (draft-ietf-httpapi-idempotency-key-header). Repeated within a day, with the same body, it has no other effect and gets the same answer.
         * @example "8e03978e-40d5-43dd-bc93-6f60f2a4f2d1"
         */
        once: string;
    };
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    "put-door-account": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
            };
            path: {
                /** @description What your application calls the account. Printable characters without spaces; it never changes. */
                reference: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PutAccountInputBody"];
            };
        };
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PutAccountOutputBody"];
                };
            };
            /** @description body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description contact_proof_required, cross_site */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_frozen, reference_held, too_many_addresses */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description content_type_unsupported */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description reference_malformed, identifier_malformed, contact_missing, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "remove-door-account": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
            };
            path: {
                /** @description What your application calls the account. Printable characters without spaces; it never changes. */
                reference: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description No Content */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description cross_site */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_unknown */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description reference_malformed, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "add-door-app": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
                /**
                 * @description A name that you give the call, another for each (draft-ietf-httpapi-idempotency-key-header). Repeated within a day, with the same body, it has no other effect and gets the same answer.
                 * @example "8e03978e-40d5-43dd-bc93-6f60f2a4f2d1"
                 */
                "Idempotency-Key"?: components["parameters"]["once"];
            };
            path: {
                /** @description What your application calls the account. */
                reference: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AddDoorAppInputBody"];
            };
        };
        responses: {
            /** @description Created */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NewAppOutputBody"];
                };
            };
            /** @description idempotency_key_malformed, body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description second_door_required, cross_site */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_unknown */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_frozen, too_many_authenticators, call_under_way */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description content_type_unsupported */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description reference_malformed, call_differs, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "confirm-door-app": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
                /**
                 * @description A name that you give the call, another for each (draft-ietf-httpapi-idempotency-key-header). Repeated within a day, with the same body, it has no other effect and gets the same answer.
                 * @example "8e03978e-40d5-43dd-bc93-6f60f2a4f2d1"
                 */
                "Idempotency-Key"?: components["parameters"]["once"];
            };
            path: {
                /** @description What your application calls the account. */
                reference: string;
                /** @description From the call before. */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ConfirmDoorAppInputBody"];
            };
        };
        responses: {
            /** @description No Content */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description idempotency_key_malformed, body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved, code_refused */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description second_door_required, cross_site */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_unknown */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_frozen, too_many_authenticators, call_under_way */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description content_type_unsupported */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description reference_malformed, call_differs, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "remove-door-app": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
                /**
                 * @description A name that you give the call, another for each (draft-ietf-httpapi-idempotency-key-header). Repeated within a day, with the same body, it has no other effect and gets the same answer.
                 * @example "8e03978e-40d5-43dd-bc93-6f60f2a4f2d1"
                 */
                "Idempotency-Key"?: components["parameters"]["once"];
            };
            path: {
                /** @description What your application calls the account. */
                reference: string;
                /** @description From the list. */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PassedFlow"];
            };
        };
        responses: {
            /** @description No Content */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description idempotency_key_malformed, body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description second_door_required, cross_site */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_unknown, not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_frozen, call_under_way */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description content_type_unsupported */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description reference_malformed, call_differs, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "make-door-backup-codes": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
                /**
                 * @description A name that you give the call, another for each (draft-ietf-httpapi-idempotency-key-header). Repeated within a day, with the same body, it has no other effect and gets the same answer.
                 * @example "8e03978e-40d5-43dd-bc93-6f60f2a4f2d1"
                 */
                "Idempotency-Key"?: components["parameters"]["once"];
            };
            path: {
                /** @description What your application calls the account. */
                reference: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PassedFlow"];
            };
        };
        responses: {
            /** @description Created */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BackupCodesOutputBody"];
                };
            };
            /** @description idempotency_key_malformed, body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description second_door_required, cross_site */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_unknown */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_frozen, call_under_way */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description content_type_unsupported */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description reference_malformed, call_differs, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "list-door-devices": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
            };
            path: {
                /** @description What your application calls the account. Printable characters without spaces; it never changes. */
                reference: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DoorDevicesOutputBody"];
                };
            };
            /** @description body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_unknown */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description reference_malformed, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "forget-door-devices": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
            };
            path: {
                /** @description What your application calls the account. Printable characters without spaces; it never changes. */
                reference: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description No Content */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description cross_site */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_unknown */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description reference_malformed, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "forget-door-device": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
            };
            path: {
                /** @description What your application calls the account. */
                reference: string;
                /** @description From the list. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description No Content */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description cross_site */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_unknown, not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description reference_malformed, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "list-door-factors": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
            };
            path: {
                /** @description What your application calls the account. Printable characters without spaces; it never changes. */
                reference: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DoorFactorsOutputBody"];
                };
            };
            /** @description body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_unknown */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description reference_malformed, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "begin-door": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
                /**
                 * @description A name that you give the call, another for each (draft-ietf-httpapi-idempotency-key-header). Repeated within a day, with the same body, it has no other effect and gets the same answer.
                 * @example "8e03978e-40d5-43dd-bc93-6f60f2a4f2d1"
                 */
                "Idempotency-Key"?: components["parameters"]["once"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BeginDoorInputBody"];
            };
        };
        responses: {
            /** @description Created */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DoorBody"];
                };
            };
            /** @description idempotency_key_malformed, body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_locked, cross_site */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description account_unknown */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description call_under_way */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description content_type_unsupported */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description reference_malformed, site_unknown, call_differs, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description too_many_attempts */
            429: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "prove-door-code": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
                /**
                 * @description A name that you give the call, another for each (draft-ietf-httpapi-idempotency-key-header). Repeated within a day, with the same body, it has no other effect and gets the same answer.
                 * @example "8e03978e-40d5-43dd-bc93-6f60f2a4f2d1"
                 */
                "Idempotency-Key"?: components["parameters"]["once"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DoorCodeInputBody"];
            };
        };
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DoorBody"];
                };
            };
            /** @description idempotency_key_malformed, body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved, code_refused */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description cross_site */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description step_out_of_order, call_under_way */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description flow_ended, api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description content_type_unsupported */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description device_key_malformed, device_key_unsupported, attestation_refused, attestation_required, attestation_unsupported, call_differs, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description too_many_attempts */
            429: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "send-door-code": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
                /**
                 * @description A name that you give the call, another for each (draft-ietf-httpapi-idempotency-key-header). Repeated within a day, with the same body, it has no other effect and gets the same answer.
                 * @example "8e03978e-40d5-43dd-bc93-6f60f2a4f2d1"
                 */
                "Idempotency-Key"?: components["parameters"]["once"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DoorSendInputBody"];
            };
        };
        responses: {
            /** @description Accepted */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SendOutputBody"];
                };
            };
            /** @description idempotency_key_malformed, body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description cross_site */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description step_out_of_order, call_under_way */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description flow_ended, api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description content_type_unsupported */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description way_unknown, call_differs, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description resend_too_soon, too_many_attempts */
            429: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "prove-door-device": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
                /**
                 * @description A name that you give the call, another for each (draft-ietf-httpapi-idempotency-key-header). Repeated within a day, with the same body, it has no other effect and gets the same answer.
                 * @example "8e03978e-40d5-43dd-bc93-6f60f2a4f2d1"
                 */
                "Idempotency-Key"?: components["parameters"]["once"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DoorDeviceInputBody"];
            };
        };
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DoorBody"];
                };
            };
            /** @description idempotency_key_malformed, body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_unproved */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description cross_site */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_timeout */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description step_out_of_order, call_under_way */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description flow_ended, api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description content_type_unsupported */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description call_differs, input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description too_many_attempts */
            429: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "check-session": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionBody"];
                };
            };
            /** @description session_ended, session_key_unproved, dpop_nonce_needed, dpop_proof_refused */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "sign-out": {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.
                 * @example ios/4.2.1
                 */
                "Countersign-Client"?: components["parameters"]["client"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description No Content */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description body_malformed */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description session_ended, session_key_unproved, dpop_nonce_needed, dpop_proof_refused */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description cross_site */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description api_retired */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description input_invalid */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description client_outdated */
            426: {
                headers: {
                    /** @description The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only. */
                    Upgrade?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description database_unavailable, keys_missing */
            503: {
                headers: {
                    /** @description Seconds to wait, rounded up to one of a few steps. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
}
