import Foundation
import JSON
import KeyStore
import Testing

@Suite struct KeysCommandTests {
    @Test func `create prints id and key as JSON and nothing else`() throws {
        let state = try TemporaryState()
        let result = try ToolProcess.keys(["create", "--name", "n", "--json"], in: state)
        #expect(result.status == 0 && result.errors.isEmpty)
        let object = try JSONValue.parse(result.output)
        #expect(object.object?.keys == ["id", "key"])
        let key = try #require(object["key"]?.string)
        #expect(KeyFormat.id(of: key) == object["id"]?.string)
        let store = try KeyStore.openForServer(StateFiles(state: state.path))
        #expect(store.authenticate(key) != .refused)
    }

    @Test func `options reach the record, and no output but create's holds key or digest`() throws {
        let state = try TemporaryState()
        let made = try ToolProcess.keys(
            [
                "create", "--name", "n", "--owner", "o", "--scopes", "infer,media:url,admin",
                "--models", "a*,b", "c", "--rpm", "60", "--tpm", "5000", "--max-parallel", "3",
                "--budget", "70000/day", "--weight", "5", "--expires", "12h",
            ],
            in: state
        )
        #expect(made.status == 0)
        let key = made.output.trimmingCharacters(in: .newlines)
        let id = try #require(KeyFormat.id(of: key))
        #expect(!made.errors.contains(key))
        let shown = try ToolProcess.keys(["show", id, "--json"], in: state)
        let record = try JSONValue.parse(shown.output)
        #expect(record["owner"] == "o" && record["state"] == "live" && record["rpm"] == 60)
        #expect(record["scopes"] == ["admin", "infer", "media:url"])
        #expect(record["models"] == ["a*", "b", "c"])
        #expect(record["tpm"] == 5000 && record["max_parallel"] == 3 && record["weight"] == 5)
        #expect(record["budget_per_day"] == 70000)
        let secret = String(key.dropFirst(19))
        for command in [
            ["list"], ["list", "--json"], ["show", id], ["revoke", id], ["audit", "verify"],
        ] {
            let result = try ToolProcess.keys(command, in: state)
            #expect(result.status == 0)
            #expect(!(result.output + result.errors).contains(secret))
            #expect(!(result.output + result.errors).contains("digest"))
        }
    }

    @Test func `set changes what is named, takes limits away, and leaves the rest`() throws {
        let state = try TemporaryState()
        let made = try ToolProcess.keys(
            ["create", "--name", "n", "--rpm", "60", "--models", "a*", "--json"],
            in: state
        )
        let id = try #require(try JSONValue.parse(made.output)["id"]?.string)
        let set = try ToolProcess.keys(
            [
                "set", id, "--json", "--scopes", "infer,admin", "--rpm", "none", "--tpm", "7",
                "--models", "all", "--expires", "never",
            ],
            in: state
        )
        #expect(set.status == 0)
        let record = try JSONValue.parse(set.output)
        #expect(record["scopes"] == ["admin", "infer"] && record["tpm"] == 7)
        #expect(record["rpm"] == .null && record["models"] == [] && record["expires"] == .null)
        #expect(record["name"] == "n" && record["weight"] == 1)
        let again = try ToolProcess.keys(["set", id, "--tpm", "7"], in: state)
        #expect(again.status == 0 && again.output.hasPrefix("nothing to change"))
        for bad in [[], ["--rpm", "x"], ["--scopes", "root"], ["--budget", "much"]] {
            #expect(try ToolProcess.keys(["set", id] + bad, in: state).status == 64)
        }
        #expect(try ToolProcess.keys(["set", id, "--weight", "0"], in: state).status != 0)
    }

    @Test(arguments: [
        ["--scopes", "root"], ["--scopes", ""], ["--expires", "5y"], ["--expires", "0d"],
        ["--expires", "99999999999999999w"], ["--expires", "9999999999d"], ["--budget", "ten"],
        ["--budget", "0/day"], ["--rpm", "0"], ["--rpm", "1e9"], ["--weight", "1001"],
        ["--owner", ""], ["--name", ""], ["--max-parallel", "99999999999999999999"],
    ]) func `bad input ends with 64 and makes nothing`(_ options: [String]) throws {
        let state = try TemporaryState()
        let result = try ToolProcess.keys(["create", "--name", "n"] + options, in: state)
        #expect(result.status == 64)
        #expect(result.output.isEmpty && result.errors.hasPrefix("Error: "))
        #expect(try FileManager.default.contentsOfDirectory(atPath: state.path).isEmpty)
    }

    @Test func `a key goes into a private file if asked, and never over another file`() throws {
        let state = try TemporaryState()
        let out = state.path + "/key"
        let arguments = ["create", "--name", "n", "--json", "--out", out]
        let made = try ToolProcess.keys(arguments, in: state)
        #expect(made.status == 0 && !made.output.contains("sk-tg-"))
        let key = try String(contentsOfFile: out, encoding: .utf8).trimmingCharacters(in: .newlines)
        #expect(KeyFormat.id(of: key) == (try JSONValue.parse(made.output))["id"]?.string)
        let mode = try FileManager.default.attributesOfItem(atPath: out)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        let again = try ToolProcess.keys(arguments, in: state)
        #expect(again.status == 1 && again.errors.contains("exists already"))
        let listed = try ToolProcess.keys(["list", "--json"], in: state)
        #expect(try JSONValue.parse(listed.output).array?.count == 1)
    }

    @Test func `a key that cannot be handed out is revoked`() throws {
        let state = try TemporaryState()
        let arguments = ["create", "--name", "n", "--out", state.path + "/no/such/folder/key"]
        let result = try ToolProcess.keys(arguments, in: state)
        #expect(result.status == 1 && result.errors.contains("was revoked"))
        let listed = try ToolProcess.keys(["list", "--json"], in: state)
        #expect(try JSONValue.parse(listed.output).array?.first?["state"] == "revoked")
    }

    @Test func `unknown ids and whole keys in place of ids fail without repeating them`() throws {
        let state = try TemporaryState()
        let made = try ToolProcess.keys(["create", "--name", "n"], in: state)
        let key = made.output.trimmingCharacters(in: .newlines)
        #expect(try ToolProcess.keys(["revoke", "aaaaaaaaaaaa"], in: state).status == 1)
        let pasted = try ToolProcess.keys(["revoke", key], in: state)
        #expect(pasted.status == 64 && !pasted.errors.contains(key))
    }
}
