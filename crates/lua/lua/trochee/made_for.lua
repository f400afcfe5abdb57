-- The Lua that trochee.so is made for, as _VERSION says it, or "LuaJIT". `make build LUA=…` writes another one here.

return "Lua 5.4";
