internal import ArgumentParser
internal import Checkpoints
internal import Foundation
internal import Server
internal import Settings

/// `torchgate models list | show`.
struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models",
        abstract: "The models of this machine.",
        subcommands: [List.self, Show.self]
    )

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the models, and mark those that lack weights as incomplete."
        )

        @OptionGroup var options: SettingsOptions

        func run() throws {
            let settings = try options.load()
            for entry in ModelFolders.entries(settings) {
                let mark = entry.hasWeights ? "" : "\tincomplete"
                print("\(entry.id)\t\(entry.ownedBy)\t\(entry.path)\(mark)")
            }
            for path in ModelFolders.unnamed(settings) {
                let name = URL(fileURLWithPath: path).lastPathComponent.debugDescription
                let line =
                    "not listed: \(name): ids are letters, digits, '.', '_' and '-'; rename it, or set "
                    + "models.settings.ID.path\n"
                FileHandle.standardError.write(Data(line.utf8))
            }
        }
    }

    /// Reads headers only: no weights, no engine, no libtorch.
    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what a model is, and with --plan what it takes of memory."
        )

        @OptionGroup var options: SettingsOptions

        @Argument(help: "A model's id or alias, a folder, or a .gguf file.")
        var name: String

        @Flag(help: "Also show weights, cache per token, and the sequences that fit.")
        var plan = false

        @Option(
            help: "Plan for this type: float32 or bfloat16. Default: the settings' for the model."
        )
        var dtype: String?

        @Option(
            help:
                "Plan for floats quantised so: none, nf4, int8 or int4. Default: the settings' for the model."
        )
        var quantize: String?

        @Option(help: "Plan for so many GiB in place of what is available now.")
        var memory: Double?

        func validate() throws {
            guard ["float32", "bfloat16", "auto", nil].contains(dtype) else {
                throw ValidationError("--dtype must be float32, bfloat16 or auto")
            }
            guard ["none", "nf4", "int8", "int4", nil].contains(quantize) else {
                throw ValidationError("--quantize must be none, nf4, int8 or int4")
            }
            guard memory.map({ (0...1_048_576).contains($0) }) ?? true else {
                throw ValidationError("--memory must be a number of GiB")
            }
        }

        func run() throws {
            let settings = try options.load()
            let id = settings.models.aliases[name] ?? name
            let entry = ModelFolders.entries(settings).first { $0.id == id }
            guard
                let path = entry?.path
                    ?? (FileManager.default.fileExists(atPath: name) ? name : nil)
            else { throw ValidationError("there is no model \(name)") }
            let checkpoint: Checkpoint
            do throws(CheckpointError) { checkpoint = try Checkpoint(opening: path) } catch {
                throw ValidationError("\(path): \(error)")
            }
            let configuration = checkpoint.configuration
            print("model         \(entry?.id ?? name)")
            print("path          \(path)")
            print("architecture  \(checkpoint.modelType)")
            print("context       \(checkpoint.contextLength) tokens")
            print("vocabulary    \(configuration.vocabularySize)")
            print("tensors       \(checkpoint.tensors.count), \(size(checkpoint.totalBytes))")
            let wish = dtype ?? settings.models.settings[id]?.dtype ?? settings.engine.dtype
            let own = settings.models.settings[id]?.quantize
            let form = WeightForm(
                dtype: wish,
                quantize: quantize ?? own ?? settings.engine.quantize
            )
            if plan { show(checkpoint, wish, form ?? .stored, settings) }
        }

        private func show(
            _ checkpoint: Checkpoint,
            _ wish: String,
            _ form: WeightForm,
            _ settings: Settings
        ) {
            let stored = (try? StoredQuantisation(checkpoint.config)) ?? .none
            let bnb = settings.engine.bnbComputeType
            let wish = form.computeWish(wish, bnb: bnb, stored)
            let native = MachineMemory.multipliesBFloat16 ? "bfloat16" : "float32"
            let dtype = wish == "float32" || wish == "bfloat16" ? wish : native
            let plan = MemoryPlan(of: checkpoint, dtype: dtype, form: form)
            let available =
                memory.map { Int($0 * Double(1 << 30)) } ?? MachineMemory.availableBytes
            let computed = plan.weights == dtype ? "" : ", computed in \(dtype)"
            print("weights       \(size(plan.weightBytes)) as \(plan.weights)\(computed)")
            if plan.stateBytes > 0 {
                print("state         \(size(plan.stateBytes)) a sequence, however long it is")
            } else {
                print("cache         \(size(plan.state(tokens: 1024))) for 1,024 tokens")
            }
            print("available     \(size(available))")
            if plan.least() > available {
                print("does not fit  needs \(size(plan.least())) at least")
                return
            }
            print("cache room    \(size(plan.cacheBytes(available: available)))")
            let longest = min(plan.contextLength, max(1, settings.engine.maxContext))
            let context = settings.engine.maxContext == 0 ? plan.contextLength : longest
            let shorter = plan.stateBytesPerToken > 0 ? [2048, 8192, 32_768, 131_072] : []
            let lengths = shorter.filter { $0 < context } + [context]
            for length in lengths {
                let slots = plan.slots(context: length, available: available)
                print("              \(slots) sequences of \(length) tokens")
            }
        }

        /// `12.3 GiB`.
        private func size(_ bytes: Int) -> String {
            for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
            where bytes >= unit {
                return String(format: "%.1f \(name)", Double(bytes) / Double(unit))
            }
            return "\(bytes) B"
        }
    }
}
