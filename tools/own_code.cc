// SPDX-License-Identifier: Apache-2.0
//
// own_code: a plugin that lets clang-tidy's checks walk our declarations only.
//
// clang-tidy 19 runs every check over everything a source includes, the standard library and
// GoogleTest too, and then drops what it found in system headers: four fifths of its time. This
// plugin's consumer comes before clang-tidy's own and narrows the walk to the top-level
// declarations outside system headers. A TEST is ours: what counts is where its macro is used.
//
// tests/tidy/clang_tidy_test.py proves that the findings stay the same. Only the preset `tidy`
// builds it (QUIRE_BUILD_TIDY_PLUGIN); tools/run_clang_tidy.py loads it.
#include <clang/AST/ASTConsumer.h>
#include <clang/AST/ASTContext.h>
#include <clang/AST/Decl.h>
#include <clang/Basic/SourceManager.h>
#include <clang/Frontend/CompilerInstance.h>
#include <clang/Frontend/FrontendAction.h>
#include <clang/Frontend/FrontendPluginRegistry.h>

#include <memory>
#include <string>
#include <vector>

namespace {

bool is_ours(const clang::Decl* declaration, const clang::SourceManager& sources) {
  const clang::SourceLocation place = sources.getExpansionLoc(declaration->getLocation());
  return place.isValid() && !sources.isInSystemHeader(place);
}

class OwnCode : public clang::ASTConsumer {
 public:
  void HandleTranslationUnit(clang::ASTContext& context) override {
    std::vector<clang::Decl*> ours;
    for (clang::Decl* declaration : context.getTranslationUnitDecl()->decls()) {
      if (is_ours(declaration, context.getSourceManager())) {
        ours.push_back(declaration);
      }
    }
    context.setTraversalScope(ours);
  }
};

// The names are clang's.
// NOLINTBEGIN(readability-identifier-naming)
class OwnCodeAction : public clang::PluginASTAction {
 protected:
  std::unique_ptr<clang::ASTConsumer> CreateASTConsumer(clang::CompilerInstance& /*compiler*/,
                                                        llvm::StringRef /*file*/) override {
    return std::make_unique<OwnCode>();
  }
  bool ParseArgs(const clang::CompilerInstance& /*compiler*/,
                 const std::vector<std::string>& /*arguments*/) override {
    return true;
  }
  ActionType getActionType() override { return AddBeforeMainAction; }
};
// NOLINTEND(readability-identifier-naming)

const clang::FrontendPluginRegistry::Add<OwnCodeAction> kOwnCode(
    "own-code", "narrows the walk of the checks to declarations outside system headers");

}  // namespace
