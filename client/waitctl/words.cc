#include "client/waitctl/words.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace waitd::ctl {
namespace {

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

// One pass over a command line.
class Sorter {
 public:
  explicit Sorter(CLI::App& app) : app_(app) {
    for (const CLI::App* each : app.get_subcommands({})) commands_.push_back(each->get_name());
  }

  Words Sort(std::span<const char* const> words) {
    words_ = words;
    bool flags_ended = false;
    while (next_ < words_.size()) {
      const std::string word = words_[next_++];
      // A word that begins with a digit behind its dash is a number: no flag is one.
      const bool flag = !flags_ended && word.size() > 1 && word[0] == '-' &&
                        !absl::ascii_isdigit(static_cast<unsigned char>(word[1]));
      if (word == "--" && program_ != nullptr && operands_.size() == 1) {
        TakeProgram();
      } else if (flag && word == "--") {
        flags_ended = true;
      } else if (flag) {
        TakeFlag(word);
      } else if (!named_) {
        TakeCommand(word);
      } else {
        operands_.push_back(word);
      }
    }
    if (!named_ && !helps_) Problem("give a command, such as: waitctl wait NAME");
    if (program_ != nullptr && operands_.size() > 1) {
      Problem(absl::StrCat("'", operands_[1], "' is a word too many; what is to be run stands ",
                           "behind --: waitctl ", found_.command, " NAME -- CMD"));
    }
    if (program_ != nullptr && program_->get_required() && program_words_.empty() && !helps_) {
      Problem(absl::StrCat("give what is to be run, behind --; see waitctl ", found_.command,
                           " --help"));
    }
    // CLI11 splits [a,b] of a list that may go on, and not of one whose length is known.
    if (command_ != nullptr) {
      for (CLI::Option* option : command_->get_options()) {
        const bool list = option->get_positional() && option->get_items_expected_max() > 1;
        const auto& words_of_it = option == program_ ? program_words_ : operands_;
        if (list) option->expected(std::max(1, static_cast<int>(words_of_it.size())));
      }
    }
    Words& found = found_;
    if (command_ != nullptr) found.arguments.push_back(found.command);
    found.arguments.insert(found.arguments.end(), flags_.begin(), flags_.end());
    if (!operands_.empty()) found.arguments.emplace_back("--");
    found.arguments.insert(found.arguments.end(), operands_.begin(), operands_.end());
    found.arguments.insert(found.arguments.end(), program_words_.begin(), program_words_.end());
    return std::move(found_);
  }

 private:
  void Problem(const std::string& what) {
    if (found_.problem.empty()) found_.problem = what;
  }

  void TakeCommand(const std::string& word) {
    named_ = true;
    if (std::find(commands_.begin(), commands_.end(), word) != commands_.end()) {
      command_ = app_.get_subcommand(word);
      program_ = command_->get_option_no_throw(kProgram);
      found_.command = word;
      return;
    }
    const std::string near = Nearest(word, commands_);
    Problem(absl::StrCat("there is no command ", word,
                         near.empty() ? "" : absl::StrCat("; did you mean waitctl ", near, "?")));
  }

  // All the rest is the command line to run, word by word.
  void TakeProgram() {
    const auto rest = words_.subspan(next_);
    program_words_.assign(rest.begin(), rest.end());
    next_ = words_.size();
    if (program_words_.empty()) Problem("there is nothing to run behind --; give a command");
  }

  // The flag that a word names, of the command or of waitctl itself. Null: of neither.
  const CLI::Option* Find(const std::string& name) const {
    for (CLI::App* const from : {command_, &app_}) {
      if (from == nullptr) continue;
      for (const CLI::Option* option : from->get_options()) {
        if (!option->get_positional() && option->check_name(name)) return option;
      }
    }
    return nullptr;
  }

  // --flag, --flag=VALUE, -f or -fVALUE; a value may be the next word.
  void TakeFlag(const std::string& word) {
    const bool is_long = word[1] == '-';
    const size_t end = is_long ? std::min(word.find('='), word.size()) : 2;
    const std::string name = word.substr(0, end);
    const CLI::Option* const flag = Find(name);
    if (flag == nullptr) return Problem(Unknown(name));
    const bool again = std::find(given_.begin(), given_.end(), flag) != given_.end();
    if (again && flag->get_items_expected_max() <= 1) {
      return Problem(absl::StrCat(name, " is given twice"));
    }
    given_.push_back(flag);
    flags_.push_back(name);
    helps_ = helps_ || flag->check_name("--help");
    const bool attached = end < word.size();
    if (flag->get_items_expected_max() == 0) {
      if (attached) Problem(absl::StrCat(name, " takes no value"));
      return;
    }
    std::string value = "1";
    if (attached) {
      value = word.substr(is_long ? end + 1 : end);
    } else if (flag->get_type_name() != kOptionalValue) {
      if (next_ == words_.size()) {
        return Problem(absl::StrCat(name, " needs a value: ", name, " ", flag->get_type_name()));
      }
      value = words_[next_++];
    }
    if (flag->check_name("--output")) found_.output = value;
    flags_.push_back(value);
  }

  std::string Unknown(const std::string& name) const {
    const std::string word = name.substr(std::min(name.find_first_not_of('-'), name.size()));
    if (std::find(commands_.begin(), commands_.end(), word) != commands_.end()) {
      return absl::StrCat("there is no flag ", name, "; did you mean waitctl ", word, "?");
    }
    std::vector<std::string> flags;
    for (CLI::App* const from : {command_, &app_}) {
      if (from == nullptr) continue;
      for (const CLI::Option* option : from->get_options()) {
        for (const std::string& each : option->get_lnames()) flags.push_back("--" + each);
      }
    }
    const std::string near = Nearest(name, flags);
    if (!near.empty()) return absl::StrCat("there is no flag ", name, "; did you mean ", near, "?");
    return absl::StrCat("there is no flag ", name,
                        named_ ? " here (a name that begins so stands behind --)"
                               : "; a command's flags stand behind the command");
  }

  CLI::App& app_;
  std::vector<std::string> commands_;
  std::span<const char* const> words_;
  size_t next_ = 0;
  bool named_ = false;  // the word for the command was there, right or wrong
  bool helps_ = false;
  CLI::App* command_ = nullptr;
  const CLI::Option* program_ = nullptr;  // of the command: what it runs
  std::vector<const CLI::Option*> given_;
  std::vector<std::string> flags_;
  std::vector<std::string> operands_;
  std::vector<std::string> program_words_;
  Words found_;
};

}  // namespace

Words Sort(CLI::App& app, std::span<const char* const> words) { return Sorter(app).Sort(words); }

std::string Nearest(const std::string& typed, const std::vector<std::string>& candidates) {
  std::string nearest;
  // Of a short word more than half would be another.
  size_t distance = std::min<size_t>(2, typed.size() / 2) + 1;
  for (const std::string& candidate : candidates) {
    const size_t d = EditDistance(typed, candidate);
    if (d < distance) {
      distance = d;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace waitd::ctl
