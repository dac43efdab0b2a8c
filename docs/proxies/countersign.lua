-- Asks Countersign about a request, for HAProxy 2.6 or later. What becomes of the answer, haproxy.cfg says.

local gate = os.getenv("COUNTERSIGN") .. "/forward-auth/bare"
local passed_on = { "cookie", "authorization", "accept", "sec-fetch-mode", "upgrade" }
local told = { "Remote-User", "Remote-Groups", "Remote-Email", "Remote-Assurance" }

core.register_action("countersign", { "http-req" }, function(txn)
	local sent = txn.http:req_get_headers()
	local headers = {
		["x-forwarded-method"] = { txn.sf:method() },
		["x-forwarded-host"] = { txn.sf:req_hdr("host") },
		["x-forwarded-uri"] = { txn.sf:pathq() },
	}
	for _, name in ipairs(passed_on) do
		local values = {}
		for i = 0, #(sent[name] or {}) do -- HAProxy counts them from 0
			if sent[name] and sent[name][i] then
				table.insert(values, sent[name][i])
			end
		end
		if #values > 0 then
			headers[name] = values
		end
	end
	local answer = core.httpclient():get { url = gate, headers = headers, timeout = 5000 }
	txn:set_var("txn.countersign_status", tostring(answer.status))
	if answer.status == 200 then
		for _, name in ipairs(told) do
			local value = answer.headers[name:lower()]
			if value and value[0] and value[0] ~= "" then
				txn.http:req_set_header(name, value[0])
			end
		end
	elseif answer.headers and answer.headers["location"] then
		txn:set_var("txn.countersign_location", answer.headers["location"][0])
	end
end, 0)
