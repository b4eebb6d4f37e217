-- Finds the replica that holds a pinned revision. HAProxy's own retries cannot: they
-- avoid the replica that was tried last, not all that were. Each pinned request asks
-- anew, on a connection of its own: what a replica said a moment ago a load in between
-- may have made wrong, and its client would be told that a revision is gone which
-- another still holds.

local backend = "replicas" -- whose servers are asked, in plain HTTP
local patience = 1         -- seconds that a replica has for its answer

-- holds returns whether a replica would answer a request with this pin.
local function holds(server, pin)
	local ip, port = server:get_addr():match("^(.*):(%d+)$")
	local connection = core.tcp()
	connection:settimeout(patience)
	if not connection:connect(ip, tonumber(port)) then
		return false
	end
	connection:send("GET /readyz HTTP/1.0\r\nHost: warm\r\nX-Pin-Revision: " .. pin .. "\r\n\r\n")
	local line = connection:receive("*l")
	connection:close()
	return line ~= nil and line:match("^HTTP/1%.%d 200") ~= nil
end

-- The action sets txn.holder to the name of the replica with the fewest requests in
-- work of those that are up and hold the revision of txn.pin, and leaves it unset when
-- none does. One that has stopped has most in work, and so is asked last.
core.register_action("holder", {"http-req"}, function(txn)
	local pin = txn:get_var("txn.pin"):gsub("%s", "")
	local up = {}
	for name, server in pairs(core.backends[backend].servers) do
		local stats = server:get_stats()
		if stats.status:match("^UP") then
			table.insert(up, {name = name, server = server, busy = stats.scur})
		end
	end
	table.sort(up, function(a, b) return a.busy < b.busy end)
	for _, replica in ipairs(up) do
		if holds(replica.server, pin) then
			txn:set_var("txn.holder", replica.name)
			return
		end
	end
end)
